"""Where nothing can be written, a command says so in one line."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.runtime.tiny_bundle import write_tiny_bundle
from trt_export.cli import command as export_all
from trt_pipeline.archive.packing import pack
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli

CAPABILITY_VERSION = 0x20080522
"""Of Linux' capability.h."""


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with a bundle and its archive."""
    pack(write_tiny_bundle(tmp_path / "tiny").path, tmp_path / "tiny.tar")
    tmp_path.chmod(0o555)
    yield tmp_path
    tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (cli, ["pack", "tiny", "-o", "other.tar"], "Permission denied"),
        (cli, ["unpack", "tiny.tar", "-o", "other"], "Permission denied"),
        (cli, ["generate", "a", "--bundle", "tiny", "-o", "a.png"], "can be written to"),
        (export_all, ["--out", "other"], "Permission denied"),
    ],
)
def test_a_read_only_folder_is_named(
    read_only: Path,
    command: click.Command,
    arguments: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = sorted(read_only.rglob("*"))
    assert status_without_rights(read_only, command, arguments) in (console.FAILURE, console.USAGE)
    assert message in capfd.readouterr().err.splitlines()[-1]
    assert sorted(read_only.rglob("*")) == before


def status_without_rights(folder: Path, command: click.Command, arguments: list[str]) -> int:
    """Exit status of a command in a folder; root gives up what sets it above rights."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    if os.geteuid() == 0:
        version, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(version, none) == 0
    os._exit(console.run(command, arguments))
