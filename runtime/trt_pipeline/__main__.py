"""The command trt-pipeline, also `python -m trt_pipeline`: every command of every room."""

from typing import TYPE_CHECKING, NoReturn

from trt_pipeline.entry import exit_with

if TYPE_CHECKING:
    import click


def all_commands() -> "click.Group":
    """trt-pipeline with bench, which no other room knows."""
    # Imported here, so that Ctrl-C while they load is the entry's.
    from trt_pipeline.bench.command import bench
    from trt_pipeline.command_line.cli import cli

    cli.add_command(bench)
    return cli


def _run() -> int:
    from trt_pipeline.command_line import console

    return console.run(all_commands())


def main() -> NoReturn:
    """Entry point of the console script."""
    exit_with(_run)


if __name__ == "__main__":
    main()
