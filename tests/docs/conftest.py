"""The folder in which a page's reader stands: bundles, pictures, and nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.keys import write_keys
from tests.runtime.tiny_bundle import (
    write_super_resolution_bundle,
    write_tiny_bundle,
    write_unconditional_bundle,
)
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_pipeline.bundle import manifest_json
from trt_pipeline.bundle.manifest import Limits
from trt_pipeline.bundle.names import MANIFEST


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small bundle takes the place of the embedded checkpoint's, which takes a minute."""
    write_tiny_bundle(tmp_path / "engines/shapes")
    return _furnished(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def embedded_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `export-all` writes."""
    out = tmp_path_factory.mktemp("embedded") / "shapes"
    return export_checkpoint(open_checkpoint(None), out, ExportOptions("fp16")).bundle.path


@pytest.fixture
def embedded_folder(embedded_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(embedded_bundle, tmp_path / "engines/shapes")
    return _furnished(tmp_path, monkeypatch)


def _furnished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    enlarger = write_super_resolution_bundle(folder / "engines/super-resolution")
    large = replace(enlarger, limits=Limits((1, 4), (256, 512), (256, 512)))
    (enlarger.path / MANIFEST).write_text(manifest_json(large))
    write_unconditional_bundle(folder / "engines/unconditional")
    write_keys(folder, "key")
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(folder / "photo.png")
    Image.new("L", (64, 64), "white").save(folder / "mask.png")
    monkeypatch.chdir(folder)
    return folder
