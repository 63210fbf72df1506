"""The command trt-pipeline, also `python -m trt_pipeline`: every command of every room."""

from typing import NoReturn

from trt_pipeline.entry import exit_with


def _run() -> int:
    # Imported here, so that Ctrl-C while they load is the entry's.
    from trt_pipeline.bench.command import bench
    from trt_pipeline.command_line import console
    from trt_pipeline.command_line.cli import cli

    cli.add_command(bench)
    return console.run(cli)


def main() -> NoReturn:
    """Entry point of the console script."""
    exit_with(_run)


if __name__ == "__main__":
    main()
