import logging
import sys
import warnings
from collections.abc import Iterator

import click
import pytest

from trt_pipeline import IntegrityError, InvalidInputError, TrtPipelineError
from trt_pipeline.command_line import console


def status_of(error: BaseException, *args: str) -> int:
    @click.command()
    @console.debug_option
    def command() -> None:
        raise error

    return console.run(command, args)


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("bad"), 2),
        (IntegrityError("damaged"), 2),
        (TrtPipelineError("failed"), 1),
        (OSError("failed"), 1),
        (ZeroDivisionError("bug"), 1),
        (click.UsageError("usage"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_is_one_line_and_a_status(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(error) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().startswith("error: ")
    assert captured.err.strip().count("\n") == 0


def test_a_message_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    status_of(InvalidInputError("a weight named \x1b[2J\x07x"))
    assert capsys.readouterr().err == "error: a weight named \ufffd[2J\ufffdx\n"


def test_a_message_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    status_of(InvalidInputError("first\n  second"))
    assert capsys.readouterr().err == "error: first second\n"


def test_an_operating_system_error_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    status_of(FileNotFoundError(2, "No such file or directory", "a.png"))
    assert capsys.readouterr().err == "error: a.png: No such file or directory\n"


def test_debug_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(ZeroDivisionError("bug"), "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_command_that_returns_is_done() -> None:
    assert console.run(click.Command("nothing", callback=lambda: None), []) == 0


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(click.Command("nothing"), ["--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def warn() -> None:
        warnings.simplefilter("always")
        warnings.warn("mind\nthe gap", UserWarning, stacklevel=1)

    console.run(click.Command("warn", callback=warn), [])
    assert capsys.readouterr().err == "warning: mind the gap\n"


def test_progress_away_from_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("loading") as bar:
        bar.describe("tracing", total=2)
        bar.advance()
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["loading", "tracing", "tracing: 2/2, 0 s spent, 0 s left"]


def test_progress_on_a_terminal_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("loading") as bar:
        bar.describe("tracing", total=2)
        bar.advance(2)
    assert "tracing" in capsys.readouterr().err
