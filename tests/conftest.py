"""What tests share: small checkpoints and their bundles, made once a session."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints import (
    OTHER,
    PLAIN,
    make_checkpoint,
    make_super_resolution,
    make_unconditional,
    make_wide,
)
from tests.shared import once
from tests.stable_diffusion_xl import make_xl
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, ExportReport, Watch, export_checkpoint
from trt_export.quantization.bundles import quantize_bundle

CALIBRATION_PROMPTS = ["a red circle"]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled models of the tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "plain", lambda at: make_checkpoint(at / "checkpoint", PLAIN))


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "other", lambda at: make_checkpoint(at / "checkpoint", OTHER))


@pytest.fixture(scope="session")
def resumed_export(
    plain_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    """A float32 export that was interrupted before it traced the denoiser, then run again."""

    def interrupt(stage: str) -> None:
        if stage == "trace denoiser":
            raise KeyboardInterrupt

    def export(_: Path) -> ExportReport:
        with pytest.raises(KeyboardInterrupt):
            _export(plain_checkpoint, ExportOptions("fp32"), interrupt)
        return _export(plain_checkpoint, ExportOptions("fp32"))

    return once(tmp_path_factory, "resumed", export)


@pytest.fixture(scope="session")
def plain_bundle(resumed_export: ExportReport) -> Path:
    """PLAIN, stored as float32."""
    return resumed_export.bundle.path


@pytest.fixture(scope="session")
def other_bundle(other_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OTHER, stored as float16, for up to three pictures a call."""
    return _shared_bundle(tmp_path_factory, other_checkpoint, ExportOptions("fp16", max_batch=3))


@pytest.fixture(scope="session")
def unconditional_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "unconditional", lambda at: make_unconditional(at / "checkpoint"))


@pytest.fixture(scope="session")
def unconditional_bundle(
    unconditional_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model without prompts, stored as float32."""
    return _shared_bundle(tmp_path_factory, unconditional_checkpoint, ExportOptions("fp32"))


@pytest.fixture(scope="session")
def wide_export(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """A model whose decoder is beyond float16, stored as float16."""

    def export(folder: Path) -> ExportReport:
        return _export(make_wide(folder / "checkpoint"), ExportOptions("fp16", max_batch=2))

    return once(tmp_path_factory, "wide", export)


@pytest.fixture(scope="session")
def super_resolution_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(
        tmp_path_factory, "super-resolution", lambda at: make_super_resolution(at / "checkpoint")
    )


@pytest.fixture(scope="session")
def super_resolution_bundle(
    super_resolution_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model that enlarges pictures, stored as float32."""
    return _shared_bundle(tmp_path_factory, super_resolution_checkpoint, ExportOptions("fp32"))


@pytest.fixture(scope="session")
def xl_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "xl", lambda at: make_xl(at / "checkpoint"))


@pytest.fixture(scope="session")
def xl_bundle(xl_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion XL, stored as float32."""
    return _shared_bundle(tmp_path_factory, xl_checkpoint, ExportOptions("fp32"))


@pytest.fixture(scope="session")
def quantized_bundle(other_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OTHER with an int8 denoiser, calibrated with CALIBRATION_PROMPTS."""

    def quantize(folder: Path) -> Path:
        bundle = Path(shutil.copytree(other_bundle, folder / "bundle"))
        assert quantize_bundle(bundle, CALIBRATION_PROMPTS).quantized
        return bundle

    return once(tmp_path_factory, "quantized", quantize)


def _shared_bundle(
    factory: pytest.TempPathFactory, checkpoint: Path, options: ExportOptions
) -> Path:
    name = f"{checkpoint.parent.name}-bundle"
    return once(factory, name, lambda _: _export(checkpoint, options).bundle.path)


def _export(
    checkpoint: Path, options: ExportOptions, watch: Watch = lambda _: None
) -> ExportReport:
    out = checkpoint.with_name("bundle")
    return export_checkpoint(open_checkpoint(str(checkpoint)), out, options, watch)
