"""What every command of this project shares: exit status, messages and progress on stderr.

Exit status: 0 done, 1 failure, 2 usage or bad input, 130 interrupted.
"""

import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

import click

from trt_pipeline.errors import TrtPipelineError

FAILURE = 1
USAGE = 2
INTERRUPTED = 130
PLAIN_INTERVAL = 5.0
"""Seconds between two progress lines where stderr is not a terminal."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class _State:
    """Travels as the click context's object from run to the options below and back."""

    debug: bool = False


def run(command: click.Command, argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; every error becomes one line on stderr.

    argv: arguments without the program's name; sys.argv by default.
    """
    state = _State()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = command.main(argv, obj=state, standalone_mode=False)
            return status if isinstance(status, int) else 0
        except (KeyboardInterrupt, click.Abort):
            return _fail("interrupted", INTERRUPTED)
        except click.ClickException as error:
            return _fail(error.format_message(), error.exit_code)
        except Exception as error:
            if state.debug:
                traceback.print_exc()
            return _fail(*_describe(error))


def _describe(error: Exception) -> tuple[str, int]:
    if isinstance(error, TrtPipelineError):
        return str(error), error.exit_status
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}", FAILURE
    return f"{type(error).__name__}: {error} (--debug shows where)", FAILURE


def _fail(message: str, status: int) -> int:
    click.echo(f"error: {_one_line(message)}", err=True)
    return status


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Text from a stranger's file without what would steer a terminal."""
    return "".join(
        one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text
    )


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"warning: {_one_line(str(message))}", err=True)


def debug_option(function: F) -> F:
    """Add --debug: log messages and, should the command fail, the traceback."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_debug,
        help="Show log messages, and the traceback of an error.",
    )(function)


def _set_debug(context: click.Context, _: click.Parameter, debug: bool) -> None:
    state = context.find_object(_State)
    if debug and state is not None:
        state.debug = True
    log_to_stderr(logging.INFO if debug else logging.WARNING)


class _StderrHandler(logging.Handler):
    """Looks sys.stderr up for each record, so that lines appear above a running progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(printable(self.format(record)), err=True)


def log_to_stderr(level: int) -> None:
    """Print log records of this level and above on stderr, a line each."""
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class Progress(Protocol):
    """One bar; progress() makes it."""

    def advance(self, amount: float = 1) -> None:
        """Count towards the total."""

    def describe(self, text: str, total: float | None = None) -> None:
        """Say what is being done now; a total begins a new count."""


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Progress]:
    """Show progress on stderr: plain lines, or a bar on a terminal where rich is installed.

    total: what advance() counts up to; None where it is unknown.
    """
    if not (sys.stderr.isatty() and find_spec("rich")):
        yield _PlainProgress(description, total)
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import SpinnerColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), *RichProgress.get_default_columns(), TimeElapsedColumn())
    console = Console(stderr=True)
    # A redirected stdout must stay one: rich would print its lines above the bar, on stderr.
    above = sys.stdout.isatty()
    with RichProgress(*columns, console=console, redirect_stdout=above) as bars:
        yield _RichProgress(bars, bars.add_task(description, total=total))


class _RichProgress:
    def __init__(self, bars: Any, task: Any) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: float = 1) -> None:
        self._bars.advance(self._task, amount)

    def describe(self, text: str, total: float | None = None) -> None:
        if total is not None:
            self._bars.reset(self._task, total=total)
        self._bars.update(self._task, description=text)


class _PlainProgress:
    """One line for each description, and at most one every PLAIN_INTERVAL seconds after it."""

    def __init__(self, description: str, total: float | None) -> None:
        self._begin(total)
        self.describe(description)

    def _begin(self, total: float | None) -> None:
        self._total = total
        self._done = 0.0
        self._started = time.monotonic()

    def describe(self, text: str, total: float | None = None) -> None:
        if total is not None:
            self._begin(total)
        self._text = text
        self._print("")

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        finished = self._total is not None and self._done >= self._total
        if finished or time.monotonic() - self._printed >= PLAIN_INTERVAL:
            self._print(self._state())

    def _state(self) -> str:
        spent = time.monotonic() - self._started
        if not self._total:
            return f": {self._done:g} after {spent:.0f} s"
        left = spent * max(self._total - self._done, 0) / max(self._done, 1e-9)
        return f": {self._done:g}/{self._total:g}, {spent:.0f} s spent, {left:.0f} s left"

    def _print(self, state: str) -> None:
        self._printed = time.monotonic()
        click.echo(f"{self._text}{state}", err=True)
