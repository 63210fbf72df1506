"""At whatever call a quantization ends or fails, the bundle is whole, and the next one finishes."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.injection import Work
from tests.faults.test_faults import clear, every, faults, names, survive
from trt_export.publishing.target import refuse_foreign
from trt_export.quantization import bundles
from trt_export.quantization.calibration import calibrate
from trt_export.quantization.eight_bits import Ranges
from trt_pipeline import load_bundle

OTHERS = ["a blue square"]


def quantize(target: Path, ranges: Ranges) -> None:
    """All of a quantization but for its pictures, which take seconds."""
    watched = SimpleNamespace(ranges=ranges, middle_step=({}, {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundles, "calibrate", lambda *_: watched)
        patch.setattr(bundles, "check_parity", lambda *_: ())
        bundles.quantize_bundle(target, OTHERS)


@every
@faults
def test_quantizing_a_bundle_survives(
    fault: str, step: int, quantized_bundle: Path, tmp_path: Path
) -> None:
    ranges = calibrate(load_bundle(quantized_bundle), OTHERS, lambda: None).ranges
    target = tmp_path / "place" / "bundle"

    def prepare() -> Work:
        clear(target.parent)
        shutil.copytree(quantized_bundle, target)
        return partial(quantize, target, ranges)

    def check() -> None:
        assert "int8" in load_bundle(target).graphs["denoiser"]
        refuse_foreign(target)
        quantize(target, ranges)
        graph = load_bundle(target).graph("denoiser", "int8")
        found = names(target / "onnx")
        assert [n for n in found if "int8" in n] == [
            Path(graph.path).name,
            Path(graph.weights).name,
        ]
        assert names(target.parent) == ["bundle"]

    assert survive(fault, step, prepare, check) > 10
