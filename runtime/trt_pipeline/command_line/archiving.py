"""The commands pack and unpack."""

from collections.abc import Callable
from pathlib import Path

import click

from trt_pipeline.archive import Watch
from trt_pipeline.archive.packing import pack as pack_bundle
from trt_pipeline.archive.unpacking import unpack as unpack_bundle
from trt_pipeline.command_line import console

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

key_option = click.option(
    "--key",
    "keys",
    type=FILE,
    multiple=True,
    metavar="PUB",
    help="Refuse a bundle that was not signed with this public Ed25519 key, a PEM file; repeat "
    "for more; one of them must fit.",
)


@click.command()
@click.argument("bundle", type=FOLDER)
@click.option("--output", "-o", type=FILE, help="The archive.  [default: <name of the bundle>.tar]")
@console.debug_option
def pack(bundle: Path, output: Path | None) -> None:
    """Write BUNDLE as one file, the same for the same bundle, and print its path.

    It appears whole; a command that was interrupted goes on where it was.
    """
    output = output or Path(f"{bundle.resolve().name}.tar")
    with_progress("pack", output, lambda watch: pack_bundle(bundle, output, watch))


@click.command()
@click.argument("archive", type=FILE)
@click.option("--output", "-o", type=FOLDER, help="The bundle.  [default: <name of the archive>]")
@key_option
@console.debug_option
def unpack(archive: Path, output: Path | None, keys: tuple[Path, ...]) -> None:
    """Make the bundle that ARCHIVE holds, check its hashes, and print its path.

    It appears whole; a command that was interrupted goes on where it was.
    """
    output = output or Path(archive.stem)
    with_progress(
        "unpack", output, lambda watch: unpack_bundle(archive, output, watch, keys or None)
    )


def with_progress(verb: str, output: Path, work: Callable[[Watch], bool]) -> None:
    """Show megabytes while working; work() says whether there was anything to do."""
    with console.progress("read the manifest") as bar:
        total = 0

        def watch(done: int, size: int) -> None:
            nonlocal total
            if size != total:
                total = size
                bar.describe(f"{verb} {output.name}, in MB", total=round(size / 1e6, 1))
            bar.advance(done / 1e6)

        if not work(watch):
            click.echo(f"{output} is there already; nothing to do.", err=True)
    click.echo(str(output))
