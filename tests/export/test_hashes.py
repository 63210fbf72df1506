"""Hashes that an export remembers: they come from a bundle's folder, which may be a stranger's."""

import os
from pathlib import Path

from trt_export.publishing.hashes import CACHE, Hashes


def remember(folder: Path, file: Path) -> None:
    hashes = Hashes.remembered(folder)
    hashes.of("file", file)
    hashes.save(folder)


def test_they_are_written_through_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / CACHE).symlink_to(victim)
    remember(tmp_path, victim)
    assert victim.read_text() == "precious"
    assert Hashes.remembered(tmp_path).known.keys() == {"file"}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / CACHE)
    remember(tmp_path, Path(__file__))
    assert Hashes.remembered(tmp_path).known.keys() == {"file"}


def test_absurd_depth_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / CACHE).write_text("[" * 200_000)
    assert Hashes.remembered(tmp_path).known == {}
