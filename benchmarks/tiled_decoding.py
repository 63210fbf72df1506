"""Tiled decoding: time, peak memory and difference against decoding at once.

    python benchmarks/tiled_decoding.py BUNDLE --size 1024 --tiles 256 512

Each decodes the same latents in a process of its own, whose peak resident memory is reported; that
of a process which has only loaded the decoder is the floor.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trt_pipeline import Bundle, load_bundle
from trt_pipeline.backends import open_backend
from trt_pipeline.pictures.tiling import decode_in_tiles


@dataclass(frozen=True, slots=True)
class Row:
    """What one process saw."""

    way: str
    seconds: float
    peak_bytes: int
    """Resident memory at most, the interpreter and the weights included."""
    psnr: float | None
    """Against the picture decoded at once, in dB."""


def smooth_latents(bundle: Bundle, size: int) -> NDArray[np.float32]:
    """Latents [1, C, size / factor, size / factor] that vary slowly, as those of pictures do."""
    side = size // bundle.model.vae_scale_factor
    coarse = np.random.default_rng(0).standard_normal((1, bundle.model.latent_channels, 9, 9))
    steps = np.linspace(0, 8, side)
    low = np.minimum(steps.astype(int), 7)
    part = steps - low
    rows = coarse[:, :, low] * (1 - part[:, None]) + coarse[:, :, low + 1] * part[:, None]
    columns = rows[..., low] * (1 - part) + rows[..., low + 1] * part
    return np.ascontiguousarray(columns, np.float32)


def decode(path: Path, size: int, tile: int | None) -> tuple[NDArray[np.uint8], float, int]:
    """Pixels [1, H, W, 3], seconds and peak bytes of this process; tile 0 only loads."""
    bundle = load_bundle(path, verify="manifest")
    factor = bundle.model.vae_scale_factor
    latents = smooth_latents(bundle, size)
    with open_backend(bundle, None, None)[0] as backend:
        decoder = backend.graph("decoder")
        started = time.perf_counter()
        if tile == 0:
            pixels = np.zeros((1, size, size, 3), np.uint8)
        elif tile is None:
            pixels = decoder.run({"latents": latents})["image"]
        else:
            run = partial(lambda graph, one: graph.run({"latents": one})["image"], decoder)
            pixels = decode_in_tiles(run, latents, tile // factor, factor)
        seconds = time.perf_counter() - started
    return pixels, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(path: Path, size: int, tiles: list[int]) -> Iterator[Row]:
    """The floor, decoding at once, and each size of tiles."""
    _, seconds, peak = alone(path, size, 0)
    yield Row("loaded only", seconds, peak, None)
    whole, seconds, peak = alone(path, size, None)
    yield Row("at once", seconds, peak, None)
    for tile in tiles:
        pixels, seconds, peak = alone(path, size, tile)
        yield Row(f"tiles of {tile}", seconds, peak, psnr(pixels, whole))


def alone(path: Path, size: int, tile: int | None) -> tuple[NDArray[np.uint8], float, int]:
    """What decode gives, in a new process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(decode, (path, size, tile))


def psnr(pixels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = np.square(np.subtract(pixels, reference, dtype=np.float64)).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--size", type=int, default=1024, help="height and width, pixels")
    parser.add_argument("--tiles", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here as well")
    arguments = parser.parse_args()
    rows = []
    for row in measure(arguments.bundle, arguments.size, arguments.tiles):
        rows.append(asdict(row))
        quality = "" if row.psnr is None else f" {row.psnr:6.1f} dB"
        print(f"{row.way:<14} {row.seconds:7.2f} s {row.peak_bytes / 2**20:8.0f} MiB{quality}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"size": arguments.size, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
