"""The command export-all, also `python -m trt_export`."""

import os
import sys
from typing import NoReturn

from trt_pipeline.entry import exit_with


def _run() -> int:
    """Without the packages of the export half, says how to install them."""
    try:
        from trt_export.cli import command
        from trt_pipeline.command_line.console import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("trt_"):
            raise
        sys.exit(
            f"error: export-all needs the {error.name} package. "
            'Install it with: pip install "trt-pipeline[export]"'
        )
    return run(command)


def _quiet() -> None:
    """Keep remarks of diffusers and transformers off the terminal: what matters is checked here."""
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")


def main() -> NoReturn:
    """Entry point of the console script."""
    _quiet()
    exit_with(_run)


if __name__ == "__main__":
    main()
