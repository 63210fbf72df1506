"""Stages that finished are not done again; a target appears whole."""

from pathlib import Path

import pytest

from trt_export.publishing.work_folder import WorkFolder, restore, standing
from trt_pipeline.durable import write_synced


def fail() -> None:
    pytest.fail("this stage was done already")


def test_a_finished_stage_is_read_back(tmp_path: Path) -> None:
    WorkFolder.open(tmp_path / "target", "key").stage("trace", lambda: {"width": 3})
    again = WorkFolder.open(tmp_path / "target", "key")
    assert again.stage("trace", fail) == {"width": 3}


def test_another_key_starts_over(tmp_path: Path) -> None:
    first = WorkFolder.open(tmp_path / "target", "key")
    write_synced(first.path / "left.bin", b"x")
    first.stage("trace", lambda: 1)
    second = WorkFolder.open(tmp_path / "target", "other key")
    assert second.stage("trace", lambda: 2) == 2
    assert not (second.path / "left.bin").exists()


def test_a_link_in_the_place_of_the_work_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".target.partial").symlink_to(tmp_path / "elsewhere")
    WorkFolder.open(tmp_path / "target", "key").stage("trace", lambda: 1)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_stage_that_failed_is_done_again(tmp_path: Path) -> None:
    work = WorkFolder.open(tmp_path / "target", "key")
    with pytest.raises(ZeroDivisionError):
        work.stage("trace", lambda: 1 // 0)
    assert work.stage("trace", lambda: 2) == 2


def test_a_target_lost_between_two_renames_comes_back(tmp_path: Path) -> None:
    retired = tmp_path / ".target.retired"
    retired.mkdir()
    (retired / "old").touch()
    assert standing(tmp_path / "target") == retired
    restore(tmp_path / "target")
    assert (tmp_path / "target" / "old").exists()
    assert standing(tmp_path / "target") == tmp_path / "target"


def test_publishing_replaces_the_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    work = WorkFolder.open(target, "key")
    write_synced(work.path / "new", b"x")
    work.publish(target)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
