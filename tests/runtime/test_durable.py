import errno
from pathlib import Path

import pytest

from trt_pipeline.durable import exchange, naming, require_room, write_synced


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
