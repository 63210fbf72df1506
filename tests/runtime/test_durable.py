import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from trt_pipeline.durable import claim, exchange, keep, kept, naming, require_room, write_synced
from trt_pipeline.locking import one_at_a_time


def test_a_full_disk_names_what_was_being_written(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with pytest.raises(OSError, match=re.escape(str(target))), one_at_a_time(target):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_two_folders_swap_their_names(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    if exchange(tmp_path / "one", tmp_path / "other"):
        assert (tmp_path / "one" / "who").read_text() == "other"
    assert {(tmp_path / name / "who").read_text() for name in ("one", "other")} == {"one", "other"}


def test_what_cannot_be_swapped_stays(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert not exchange(tmp_path / "one", tmp_path / "missing")
    assert (tmp_path / "one").is_dir()


def test_a_file_is_replaced_and_nothing_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    write_synced(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_what_is_written_aside_reaches_no_other_file(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link(tmp_path / ".a.new", victim)
    write_synced(tmp_path / "a", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "a").is_symlink()


def test_a_file_of_another_user_is_not_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "growing").touch()
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "growing").stat().st_uid + 1)
    with pytest.raises(PermissionError, match="it belongs to another user"):
        claim(tmp_path / "growing")


def test_more_than_the_disk_holds_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as raised:
        require_room(tmp_path / "a", 2**60)
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "full"), "a"),
        (OSError(errno.EACCES, "no", ".a.new"), "a"),
        (OSError(errno.ENOENT, "gone", "source"), "source"),
        (OSError("broken"), None),
    ],
)
def test_an_error_names_the_file_that_was_meant(error: OSError, named: str | None) -> None:
    with pytest.raises(OSError, match=r"full|no|gone|broken"), naming(Path("a"), Path(".a.new")):
        raise error
    assert error.filename == named


def test_a_kept_file_with_another_byte_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.model"
    keep(path, b"what was made")
    assert kept(path) == b"what was made"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert kept(path) is None
    assert kept(tmp_path / "none") is None
