"""At whatever call a process ends or fails, nothing is half there, and the next run finishes."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.injection import FAILED, KILLED, Work, outcomes
from tests.faults.scenes import is_whole, pack_it, replace_it, unpack_it
from tests.runtime.tiny_bundle import LIMITS, write_tiny_bundle
from trt_pipeline.archive.packing import pack
from trt_pipeline.bundle.manifest import Limits

SAMPLE = 13
"""Every thirteenth call in the default tests, every call in the slow ones."""
STATUS = {"kill": KILLED, "ENOSPC": FAILED, "EIO": FAILED}


faults = pytest.mark.parametrize("fault", STATUS)
every = pytest.mark.parametrize("step", [SAMPLE, pytest.param(1, marks=pytest.mark.slow)])


def names(folder: Path) -> list[str]:
    """What is in a folder but for locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def survive(fault: str, step: int, prepare: Callable[[], Work], check: Callable[[], None]) -> int:
    """Let a fault happen at every so many-th call, and check what follows."""

    def after(status: int) -> None:
        assert status in (0, STATUS[fault])
        check()

    return outcomes(fault, step, prepare, after)


@every
@faults
def test_packing_survives(fault: str, step: int, tmp_path: Path) -> None:
    bundle, place = write_tiny_bundle(tmp_path / "tiny").path, tmp_path / "place"
    archive = place / "tiny.tar"
    pack(bundle, tmp_path / "expected.tar")
    expected = (tmp_path / "expected.tar").read_bytes()

    def prepare() -> Work:
        clear(place)
        return partial(pack_it, bundle, archive)

    def check() -> None:
        assert not archive.exists() or archive.read_bytes() == expected
        pack_it(bundle, archive)
        assert archive.read_bytes() == expected
        assert names(place) == ["tiny.tar"]

    assert survive(fault, step, prepare, check) > 15


@every
@faults
def test_unpacking_survives(fault: str, step: int, tmp_path: Path) -> None:
    archive, place = tmp_path / "tiny.tar", tmp_path / "place"
    pack(write_tiny_bundle(tmp_path / "tiny").path, archive)
    folder = place / "again"

    def prepare() -> Work:
        clear(place)
        return partial(unpack_it, archive, folder)

    def check() -> None:
        is_whole(folder)
        unpack_it(archive, folder)
        assert is_whole(folder)
        assert names(place) == ["again"]

    assert survive(fault, step, prepare, check) > 30


@every
@faults
def test_replacing_a_bundle_survives(fault: str, step: int, tmp_path: Path) -> None:
    old = write_tiny_bundle(tmp_path / "old").path
    new = write_tiny_bundle(tmp_path / "new", Limits((1, 2), LIMITS.height, LIMITS.width)).path
    place = tmp_path / "place"
    target = place / "bundle"

    def prepare() -> Work:
        clear(place)
        shutil.copytree(old, target)
        return partial(replace_it, new, target)

    def check() -> None:
        assert is_whole(target)
        replace_it(new, target)
        assert is_whole(target)
        assert (target / "bundle.json").read_bytes() == (new / "bundle.json").read_bytes()
        assert names(place) == ["bundle"]
        assert {*names(target)} == {"bundle.json", "onnx", "vocab.txt"}

    assert survive(fault, step, prepare, check) > 60
