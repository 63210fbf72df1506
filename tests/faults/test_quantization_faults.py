"""At whatever call a quantization ends or fails, the bundle is whole, and the next one finishes."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.faults.injection import Work
from tests.faults.test_faults import clear, every, faults, names, survive
from trt_export.publishing.target import refuse_foreign
from trt_export.quantization.bundles import quantize_bundle
from trt_export.quantization.calibration import calibrate
from trt_pipeline import load_bundle

OTHERS = ["a blue square"]


@every
@faults
def test_quantizing_a_bundle_survives(
    fault: str, step: int, quantized_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = calibrate(load_bundle(quantized_bundle), OTHERS, lambda: None)
    # What ONNX Runtime does is done here: it does not run in the child of a process that it ran in.
    monkeypatch.setattr("trt_export.quantization.bundles.calibrate", lambda *_: watched)
    monkeypatch.setattr("trt_export.quantization.bundles.check_parity", lambda *_: ())
    target = tmp_path / "place" / "bundle"

    def prepare() -> Work:
        clear(target.parent)
        shutil.copytree(quantized_bundle, target)
        return partial(quantize_bundle, target, OTHERS)

    def check() -> None:
        assert "int8" in load_bundle(target).graphs["denoiser"]
        refuse_foreign(target)
        quantize_bundle(target, OTHERS)
        graph = load_bundle(target).graph("denoiser", "int8")
        found = names(target / "onnx")
        assert [n for n in found if "int8" in n] == [
            Path(graph.path).name,
            Path(graph.weights).name,
        ]
        assert names(target.parent) == ["bundle"]

    assert survive(fault, step, prepare, check) > 10
