"""What tests share: small checkpoints and their bundles, made once a session."""

from pathlib import Path

import pytest

from tests.checkpoints import OTHER, PLAIN, make_checkpoint
from trt_export.checkpoint import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("plain") / "checkpoint", PLAIN)


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("other") / "checkpoint", OTHER)


@pytest.fixture(scope="session")
def plain_bundle(plain_checkpoint: Path) -> Path:
    return _export(plain_checkpoint, ExportOptions("fp32"))


@pytest.fixture(scope="session")
def other_bundle(other_checkpoint: Path) -> Path:
    return _export(other_checkpoint, ExportOptions("fp16", max_batch=3))


def _export(checkpoint: Path, options: ExportOptions) -> Path:
    out = checkpoint.with_name("bundle")
    export_checkpoint(open_checkpoint(str(checkpoint)), out, options)
    return out


