"""Signed bundles: who vouches for them, and who does not."""

from pathlib import Path

import pytest

from tests.runtime.keys import write_keys
from trt_export.publishing.signing import Signer
from trt_pipeline import Bundle, IntegrityError, InvalidInputError, load_bundle
from trt_pipeline import trt_pipeline as open_pipeline
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli


@pytest.fixture
def signed(own_bundle: Bundle, tmp_path: Path) -> tuple[Path, Path]:
    """A signed bundle and the public key."""
    private, public = write_keys(tmp_path, "ours")
    Signer.from_file(private).sign(own_bundle.path)
    return own_bundle.path, public


def test_a_bundle_signed_by_a_trusted_key_opens(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, public = signed
    _, other = write_keys(tmp_path, "other")
    assert load_bundle(folder, trusted_keys=[other, public.read_bytes()]).path == folder
    with open_pipeline(folder, trusted_keys=[public]) as pipe:
        assert len(pipe("a red circle", num_inference_steps=1, progress_bar=False).images) == 1


def test_an_unsigned_bundle_is_refused(own_bundle: Bundle, tmp_path: Path) -> None:
    _, public = write_keys(tmp_path, "ours")
    with pytest.raises(IntegrityError, match=r"is not signed. Sign it with: export-all --sign"):
        open_pipeline(own_bundle, trusted_keys=[public])


def test_a_signature_by_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(IntegrityError, match="was not made by any of the trusted keys"):
        load_bundle(signed[0], trusted_keys=[other])


def test_a_manifest_changed_by_one_space_is_refused(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    with (folder / "bundle.json").open("a") as manifest:
        manifest.write(" ")
    assert load_bundle(folder).path == folder
    with pytest.raises(IntegrityError, match="was not made by any of the trusted keys"):
        load_bundle(folder, trusted_keys=[public])


def test_a_changed_file_of_a_signed_bundle_is_refused(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    (folder / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"vocab.txt has another sha256"):
        load_bundle(folder, trusted_keys=[public])


@pytest.mark.parametrize("content", [b"", bytes(63), bytes(65)])
def test_a_signature_of_another_length_is_refused(
    signed: tuple[Path, Path], content: bytes
) -> None:
    folder, public = signed
    (folder / "bundle.json.sig").write_bytes(content)
    with pytest.raises(IntegrityError, match="does not have the 64 bytes of a signature"):
        load_bundle(folder, trusted_keys=[public])


def test_an_empty_list_of_keys_trusts_nobody(own_bundle: Bundle) -> None:
    with pytest.raises(InvalidInputError, match="must be a list of one or more keys"):
        load_bundle(own_bundle.path, trusted_keys=[])


def test_a_key_that_is_none_is_refused(own_bundle: Bundle) -> None:
    with pytest.raises(InvalidInputError, match="a trusted key must be a PEM file or its bytes"):
        load_bundle(own_bundle.path, trusted_keys=[None])  # type: ignore[list-item]


def test_keys_without_hashes_are_refused(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    with pytest.raises(InvalidInputError, match='trusted_keys need verify="full"'):
        load_bundle(folder, verify="manifest", trusted_keys=[public])


def test_a_file_that_is_no_public_key_is_named(signed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = signed
    with pytest.raises(InvalidInputError, match=r"ours.pem is not a public Ed25519 key"):
        load_bundle(folder, trusted_keys=[tmp_path / "ours.pem"])


def test_a_file_without_a_private_key_is_named(tmp_path: Path) -> None:
    _, public = write_keys(tmp_path, "ours")
    with pytest.raises(InvalidInputError, match=r"is not a private Ed25519 key .* Make one"):
        Signer.from_file(public)


def test_verify_checks_the_signature(
    signed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, public = signed
    _, other = write_keys(tmp_path, "other")
    assert console.run(cli, ["verify", str(folder), "--key", str(public)]) == 0
    assert console.run(cli, ["verify", str(folder), "--key", str(other)]) == 2
    assert "was not made by any of the trusted keys" in capsys.readouterr().err
