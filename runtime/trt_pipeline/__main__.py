"""The command trt-pipeline, also `python -m trt_pipeline`: every command of every room."""

import sys
from typing import NoReturn

from trt_pipeline.bench.command import bench
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli

cli.add_command(bench)


def main() -> NoReturn:
    """Entry point of the console script."""
    sys.exit(console.run(cli))


if __name__ == "__main__":
    main()
