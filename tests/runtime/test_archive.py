"""A bundle as one file: the same file each time, and nothing but this bundle comes out of it."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.runtime.keys import write_keys
from tests.runtime.tiny_bundle import write_tiny_bundle
from trt_export.publishing.signing import Signer
from trt_pipeline import (
    Bundle,
    IntegrityError,
    InvalidInputError,
    TrtPipelineError,
    load_bundle,
)
from trt_pipeline.archive import END
from trt_pipeline.archive.packing import pack
from trt_pipeline.archive.unpacking import unpack
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli


@pytest.fixture
def archive(bundle: Bundle, tmp_path: Path) -> Path:
    pack(bundle.path, tmp_path / "tiny.tar")
    return tmp_path / "tiny.tar"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_bundle_comes_back_as_it_was(bundle: Bundle, archive: Path, tmp_path: Path) -> None:
    assert unpack(archive, tmp_path / "again")
    assert content(tmp_path / "again") == content(bundle.path)
    load_bundle(tmp_path / "again")


def test_the_same_bundle_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    own = write_tiny_bundle(tmp_path / "elsewhere" / "copy")
    (own.path / "vocab.txt").chmod(0o600)
    pack(own.path, tmp_path / "copy.tar")
    assert (tmp_path / "copy.tar").read_bytes() == archive.read_bytes()


def test_what_the_manifest_does_not_list_is_left_out(own_bundle: Bundle, tmp_path: Path) -> None:
    (own_bundle.path / ".hashes.json").write_text("{}")
    pack(own_bundle.path, tmp_path / "own.tar")
    with tarfile.open(tmp_path / "own.tar") as archive:
        names = archive.getnames()
    assert names == ["bundle.json", *sorted(own_bundle.files)]


def test_a_signature_travels_along(own_bundle: Bundle, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "ours")
    _, other = write_keys(tmp_path, "other")
    Signer.from_file(private).sign(own_bundle.path)
    pack(own_bundle.path, tmp_path / "own.tar")
    with pytest.raises(IntegrityError, match="not made by any of the trusted keys"):
        unpack(tmp_path / "own.tar", tmp_path / "again", trusted_keys=[other])
    assert not (tmp_path / "again").exists()
    unpack(tmp_path / "own.tar", tmp_path / "again", trusted_keys=[public])
    load_bundle(tmp_path / "again", trusted_keys=[public])


def test_a_second_time_there_is_nothing_to_do(
    bundle: Bundle, archive: Path, tmp_path: Path
) -> None:
    assert not pack(bundle.path, archive)
    unpack(archive, tmp_path / "again")
    assert not unpack(archive, tmp_path / "again")


def test_another_file_or_folder_is_never_replaced(
    bundle: Bundle, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tar").write_text("thesis")
    with pytest.raises(InvalidInputError, match="exists and is another file"):
        pack(bundle.path, tmp_path / "thesis.tar")
    (tmp_path / "thesis").mkdir()
    with pytest.raises(InvalidInputError, match="exists and is not what would be unpacked"):
        unpack(archive, tmp_path / "thesis")


def test_packing_writes_through_no_link(bundle: Bundle, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".tiny.tar.packed").symlink_to(victim)
    pack(bundle.path, tmp_path / "tiny.tar")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "tiny.tar").is_symlink()


def test_unpacking_goes_through_no_link(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".again.unpacked").symlink_to(tmp_path / "elsewhere")
    unpack(archive, tmp_path / "again")
    assert not (tmp_path / "again").is_symlink()
    assert content(tmp_path / "elsewhere") == {}


def test_a_place_where_nothing_can_be_written_is_named(bundle: Bundle) -> None:
    with pytest.raises(PermissionError, match="nothing can be written there"):
        pack(bundle.path, Path("/proc/tiny.tar"))


def test_a_damaged_bundle_is_not_packed(own_bundle: Bundle, tmp_path: Path) -> None:
    weights = own_bundle.path / "onnx" / "denoiser.weights"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"denoiser.weights is not as bundle.json says"):
        pack(own_bundle.path, tmp_path / "own.tar")
    assert {path.name for path in tmp_path.glob("*own.tar*")} == {".own.tar.lock"}


def test_a_changed_bit_anywhere_in_a_signed_archive_is_seen(
    own_bundle: Bundle, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path, "ours")
    Signer.from_file(private).sign(own_bundle.path)
    archive = tmp_path / "own.tar"
    pack(own_bundle.path, archive)
    whole = archive.read_bytes()
    for place in range(0, len(whole), 509):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(TrtPipelineError):
            unpack(archive, tmp_path / "again", trusted_keys=[public])
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / ".again.unpacked").exists()


@pytest.mark.parametrize("change", [b"", b"more"])
def test_an_archive_of_another_length_is_refused(
    archive: Path, tmp_path: Path, change: bytes
) -> None:
    archive.write_bytes(archive.read_bytes()[: None if change else -1] + change)
    with pytest.raises(IntegrityError, match=r"has \d+ bytes, but its bundle.json says"):
        unpack(archive, tmp_path / "again")


def hostile(bundle: Bundle, path: Path, member: tarfile.TarInfo) -> Path:
    """An archive whose second member is another than the manifest says, of the same length."""
    manifest = (bundle.path / "bundle.json").read_bytes()
    with tarfile.open(path, "w") as archive:
        header = tarfile.TarInfo("bundle.json")
        header.size = len(manifest)
        archive.addfile(header, io.BytesIO(manifest))
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE])
def test_a_member_that_is_a_link_or_leads_out_is_refused(
    bundle: Bundle, archive: Path, tmp_path: Path, kind: bytes
) -> None:
    member = tarfile.TarInfo(
        "../escaped" if kind == tarfile.REGTYPE else "onnx/cached_denoiser.onnx"
    )
    member.type, member.linkname = kind, "/etc/passwd"
    path = hostile(bundle, tmp_path / "hostile.tar", member)
    beginning = path.read_bytes().rstrip(b"\0")
    path.write_bytes(beginning.ljust(archive.stat().st_size, b"\0"))
    with pytest.raises(IntegrityError, match=r"does not go on with onnx/cached_denoiser.onnx"):
        unpack(path, tmp_path / "out" / ".." / "again")
    assert not (tmp_path / "again").exists()
    assert not (tmp_path.parent / "escaped").exists()


def test_an_archive_that_declares_more_than_the_disk_holds_writes_nothing(
    own_bundle: Bundle, tmp_path: Path
) -> None:
    path = own_bundle.path / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["onnx/denoiser.weights"]["size"] = 2**60
    path.write_text(json.dumps(manifest))
    member = tarfile.TarInfo("onnx/decoder.onnx")
    archive = hostile(own_bundle, tmp_path / "hostile.tar", member)
    with pytest.raises(IntegrityError, match=r"but its bundle.json says 1152921504606"):
        unpack(archive, tmp_path / "again")
    assert not list(tmp_path.glob(".again*"))


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(4096), hashlib.sha256().digest()])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it.tar").write_bytes(content)
    with pytest.raises(
        IntegrityError, match=r"is not an archive of a bundle. Make one with: trt-pipe"
    ):
        unpack(tmp_path / "it.tar", tmp_path / "again")


def test_unpacking_goes_on_with_the_files_that_are_whole(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "again")
    partial = Path(shutil.move(tmp_path / "again", tmp_path / ".again.unpacked"))
    kept = (partial / "onnx" / "decoder.onnx").stat()
    (partial / "vocab.txt").write_text("half")
    unpack(archive, tmp_path / "again")
    load_bundle(tmp_path / "again")
    assert (tmp_path / "again" / "onnx" / "decoder.onnx").stat().st_mtime_ns == kept.st_mtime_ns


def test_what_another_archive_left_is_not_unpacked_along(archive: Path, tmp_path: Path) -> None:
    (tmp_path / ".again.unpacked").mkdir()
    (tmp_path / ".again.unpacked" / "engine.plan").touch()
    unpack(archive, tmp_path / "again")
    assert not (tmp_path / "again" / "engine.plan").exists()


def test_the_commands_pack_and_unpack(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, folder = tmp_path / "a.tar", tmp_path / "again"
    assert console.run(cli, ["pack", str(bundle.path), "-o", str(archive)]) == 0
    assert console.run(cli, ["unpack", str(archive), "-o", str(folder)]) == 0
    assert console.run(cli, ["unpack", str(archive), "-o", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{archive}\n{folder}\n{folder}\n"
    assert f"{folder} is there already; nothing to do." in captured.err


def test_an_archive_ends_as_tar_files_do(archive: Path) -> None:
    assert archive.read_bytes().endswith(END)
    with tarfile.open(archive) as opened:
        assert {(m.mtime, m.uid, m.gid, m.mode, m.uname) for m in opened} == {(0, 0, 0, 0o644, "")}
