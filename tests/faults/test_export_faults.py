"""A whole export that ends or fails at any call of its last stage, and sixteen at once."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.faults.injection import Work
from tests.faults.scenes import is_whole
from tests.faults.test_faults import clear, faults, names, survive
from tests.runtime.tiny_bundle import write_tiny_bundle
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint

pytestmark = pytest.mark.slow

OPTIONS = ExportOptions("fp32")
STEPS = {"kill": 1, "ENOSPC": 5, "EIO": 5}
"""Every call, or every fifth: an export takes seconds even when only its end is missing."""


def export(checkpoint: Path, out: Path) -> bool:
    checkpoint_now = open_checkpoint(str(checkpoint))
    return export_checkpoint(checkpoint_now, out, OPTIONS, replace_other=True).exported


@pytest.fixture(scope="session")
def unwritten(plain_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of an export of which only the last stage is missing."""

    def interrupt(stage: str) -> None:
        if stage == "publish":
            raise KeyboardInterrupt

    place = tmp_path_factory.mktemp("unwritten")
    checkpoint = open_checkpoint(str(plain_checkpoint))
    with pytest.raises(KeyboardInterrupt):
        export_checkpoint(checkpoint, place / "bundle", OPTIONS, interrupt)
    return place / ".bundle.partial"


@faults
def test_an_export_survives(
    fault: str, plain_checkpoint: Path, unwritten: Path, tmp_path: Path
) -> None:
    old = write_tiny_bundle(tmp_path / "old").path
    place = tmp_path / "place"
    target = place / "bundle"

    def prepare() -> Work:
        clear(place)
        shutil.copytree(old, target)
        shutil.copytree(unwritten, place / unwritten.name)
        return partial(export, plain_checkpoint, target)

    def check() -> None:
        assert is_whole(target)
        export(plain_checkpoint, target)
        assert is_whole(target)
        assert not export(plain_checkpoint, target)
        assert names(place) == ["bundle"]
        assert names(target) == [".hashes.json", "bundle.json", "onnx", "tokenizer"]

    calls = survive(fault, STEPS[fault], prepare, check)
    print(f"export, {fault}: {calls} calls")
    assert calls > 80


def test_of_sixteen_exports_at_once_one_works(
    plain_checkpoint: Path, unwritten: Path, tmp_path: Path
) -> None:
    shutil.copytree(unwritten, tmp_path / unwritten.name)
    command = [sys.executable, "-m", "trt_export", str(plain_checkpoint), "--json"]
    command += ["--out", str(tmp_path / "bundle"), "--precision", "fp32"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(16)]
    answers = [json.loads(process.communicate()[0]) for process in running]
    assert sum(answer["exported"] for answer in answers) == 1
    assert is_whole(tmp_path / "bundle")
    assert names(tmp_path) == ["bundle"]
