"""export-all --sign."""

import shutil
from pathlib import Path

import pytest

from tests.runtime.keys import write_keys
from trt_export.cli import command
from trt_pipeline.bundle import load_bundle
from trt_pipeline.command_line import console


@pytest.fixture
def copy(plain_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain_bundle, tmp_path / "bundle"))


def test_a_bundle_that_is_up_to_date_is_signed(
    plain_checkpoint: Path, copy: Path, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path, "ours")
    arguments = [str(plain_checkpoint), "--out", str(copy), "--precision", "fp32"]
    assert console.run(command, [*arguments, "--sign", str(private)]) == 0
    assert load_bundle(copy, trusted_keys=[public]).path == copy
    signed = (copy / "bundle.json.sig").stat().st_mtime_ns
    assert console.run(command, [*arguments, "--sign", str(private)]) == 0
    assert (copy / "bundle.json.sig").stat().st_mtime_ns == signed


def test_a_file_without_a_key_ends_the_command_before_any_work(
    plain_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key.pem").write_text("no key")
    arguments = [str(plain_checkpoint), "--out", str(tmp_path / "bundle")]
    assert console.run(command, [*arguments, "--sign", str(tmp_path / "key.pem")]) == 2
    assert "is not a private Ed25519 key in PEM form" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]
