"""A file is used only if it is a plain file with the listed content."""

import hashlib
import os
from pathlib import Path

import pytest

from trt_pipeline import Bundle, BundleError, IntegrityError, load_bundle
from trt_pipeline.bundle.integrity import file_problem
from trt_pipeline.bundle.manifest import FileSpec

SPEC = FileSpec(2**22, "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8")
"""Of 4 MiB of zeros."""


def test_a_link_is_refused_even_to_the_right_content(own_bundle: Bundle, tmp_path: Path) -> None:
    vocab = own_bundle.path / "vocab.txt"
    vocab.symlink_to(vocab.rename(tmp_path / "elsewhere"))
    with pytest.raises(IntegrityError, match=r"vocab.txt cannot be read .not a regular file"):
        load_bundle(own_bundle.path)


def test_a_folder_that_is_a_link_is_refused(own_bundle: Bundle, tmp_path: Path) -> None:
    folder = own_bundle.path / "onnx"
    folder.symlink_to(folder.rename(tmp_path / "elsewhere"))
    with pytest.raises(IntegrityError, match=r"onnx/decoder.onnx is reached through a link"):
        load_bundle(own_bundle.path, verify="manifest")


def test_a_hard_link_is_refused(own_bundle: Bundle, tmp_path: Path) -> None:
    os.link(own_bundle.path / "vocab.txt", tmp_path / "second-name")
    with pytest.raises(IntegrityError, match=r"vocab.txt is a hard link, one of 2 names"):
        load_bundle(own_bundle.path, verify="manifest")


def test_a_pipe_is_refused_without_waiting_for_its_writer(own_bundle: Bundle) -> None:
    (own_bundle.path / "vocab.txt").unlink()
    os.mkfifo(own_bundle.path / "vocab.txt")
    with pytest.raises(IntegrityError, match="not a regular file"):
        load_bundle(own_bundle.path)


def test_a_manifest_that_is_a_link_is_refused(own_bundle: Bundle, tmp_path: Path) -> None:
    manifest = own_bundle.path / "bundle.json"
    manifest.symlink_to(manifest.rename(tmp_path / "elsewhere"))
    with pytest.raises(BundleError, match="not a regular file"):
        load_bundle(own_bundle.path)


@pytest.fixture
def zeros(tmp_path: Path) -> Path:
    (tmp_path / "zeros").write_bytes(bytes(SPEC.size))
    return tmp_path / "zeros"


def read_bytes_of_check(path: Path) -> int:
    """Bytes that this process reads to find that nothing is wrong with a file."""
    before = bytes_read()
    assert file_problem(path.parent, path.name, SPEC, hashes=True) is None
    return bytes_read() - before


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_an_unchanged_file_is_read_once_a_process(
    zeros: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trt_pipeline.bundle.integrity.SETTLED_NS", 0)
    assert read_bytes_of_check(zeros) >= SPEC.size
    assert read_bytes_of_check(zeros) < 2**16


def test_a_file_that_was_just_written_is_read_again(zeros: Path) -> None:
    assert read_bytes_of_check(zeros) >= SPEC.size
    assert read_bytes_of_check(zeros) >= SPEC.size


def test_a_change_is_seen_though_size_and_time_are_put_back(
    zeros: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trt_pipeline.bundle.integrity.SETTLED_NS", 0)
    status = zeros.stat()
    assert file_problem(zeros.parent, zeros.name, SPEC, hashes=True) is None
    with zeros.open("r+b") as stream:
        stream.write(b"x")
    os.utime(zeros, ns=(status.st_atime_ns, status.st_mtime_ns))
    problem = file_problem(zeros.parent, zeros.name, SPEC, hashes=True)
    assert problem == "zeros has another sha256 than bundle.json says"


def test_one_hash_says_nothing_of_another(zeros: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trt_pipeline.bundle.integrity.SETTLED_NS", 0)
    assert file_problem(zeros.parent, zeros.name, SPEC, hashes=True) is None
    other = FileSpec(SPEC.size, hashlib.sha256(b"other").hexdigest())
    assert file_problem(zeros.parent, zeros.name, other, hashes=True) is not None
