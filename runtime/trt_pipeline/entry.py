"""Entry: how the programs of this project begin and end."""

import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130


def exit_with(program: Callable[[], int]) -> NoReturn:
    """Run a program and exit with its status; Ctrl-C is one line while it still loads, too."""
    try:
        status = program()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        status = INTERRUPTED
    sys.exit(status)
