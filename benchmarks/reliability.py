"""Reliability: long runs of what the tests try briefly. Prints one JSON document.

    python benchmarks/reliability.py flips BUNDLE --count 10000
    python benchmarks/reliability.py mutations BUNDLE --count 100000
    python benchmarks/reliability.py threads BUNDLE --count 1000
    python benchmarks/reliability.py soak BUNDLE --count 10000

flips and mutations alter a signed copy of the bundle, which mutations opens without a key as well.
Exit status 1 if an altered bundle opens, an error is none of the project's, or a picture differs.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trt_export.publishing.signing import Signer
from trt_pipeline import Pipeline, TrtPipelineError, load_bundle, trt_pipeline
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE

THREADS = 16
WARM_UP = 100
"""Pictures before memory is looked at: caches fill, the allocator settles."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A signed copy of a bundle, to be damaged and mended."""

    folder: Path
    key: bytes
    """The public key, in PEM form."""
    names: tuple[str, ...]

    def opens(self) -> bool:
        """Whether it loads; errors that are none of the project's are raised."""
        try:
            load_bundle(self.folder, trusted_keys=[self.key])
        except TrtPipelineError:
            return False
        return True

    def draws(self) -> bool:
        """Whether a picture comes of it without a look at the signature; errors likewise."""
        try:
            with trt_pipeline(self.folder, threads=1) as pipe:
                picture(pipe, 0)
        except TrtPipelineError:
            return False
        return True


@contextmanager
def signed_copy(bundle: Path) -> Iterator[Copy]:
    """What the manifest lists, the manifest and a signature, in a folder that is removed."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        listed = [*load_bundle(bundle).files, MANIFEST]
        for name in listed:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / name, folder / name)
        Signer(key).sign(folder)
        copy = Copy(folder, public, (*listed, SIGNATURE))
        assert copy.opens()
        yield copy


def flips(bundle: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Flip one random bit of all the bundle's bits at a time."""
    with signed_copy(bundle) as copy:
        sizes = np.array([(copy.folder / name).stat().st_size for name in copy.names])
        accepted = Counter[str]()
        for place in rng.integers(0, sizes.sum(), count):
            file = int(np.searchsorted(sizes.cumsum(), place, "right"))
            offset = int(place - sizes[:file].sum())
            flip(copy.folder / copy.names[file], offset, bit := 1 << int(rng.integers(8)))
            accepted[copy.names[file]] += copy.opens()
            flip(copy.folder / copy.names[file], offset, bit)
        assert copy.opens()
    return {"flips": count, "accepted": accepted.total()}


def flip(path: Path, offset: int, bit: int) -> None:
    """Change one bit of a file in place."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ bit]))


def mutations(bundle: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Change one file at a time in a random way: each file is as often chosen as another.

    Without a key another manifest may well be one, of another bundle; then it must draw a picture
    or be refused.
    """
    seen = Counter[str]()
    slowest = 0.0
    with signed_copy(bundle) as copy:
        for _ in range(count):
            name = copy.names[rng.integers(len(copy.names))]
            path = copy.folder / name
            whole = path.read_bytes()
            other = mutated(whole, rng)
            path.write_bytes(other)
            started = time.perf_counter()
            seen["changed"] += other != whole
            seen["accepted"] += copy.opens() and other != whole
            if name == MANIFEST and other != whole:
                seen["other_manifests"] += 1
                seen["other_manifests_that_draw"] += copy.draws()
            slowest = max(slowest, time.perf_counter() - started)
            path.write_bytes(whole)
        assert copy.opens()
    return {"mutations": count, **seen, "slowest_seconds": slowest}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut out, doubled, inserted or cut off; new ones are noise or from elsewhere in
    the content."""
    low, high = sorted(int(place) for place in rng.integers(0, len(content) + 1, 2))
    high = min(high, low + int(rng.integers(1, 64)))
    other = int(rng.integers(0, len(content) - (high - low) + 1))
    new = (rng.bytes(high - low), content[other : other + high - low])[rng.integers(2)]
    return (
        content[:low] + new + content[high:],
        content[:low] + content[high:],
        content[:high] + content[low:],
        content[:low] + new + content[low:],
        content[:low],
    )[rng.integers(5)]


def threads(bundle: Path, count: int, _: np.random.Generator) -> dict[str, Any]:
    """The same calls one after another and from many threads at once."""
    with trt_pipeline(bundle, threads=1) as pipe:
        serial = [picture(pipe, seed) for seed in range(count)]
        started = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            together = list(pool.map(partial(picture, pipe), range(count)))
        seconds = time.perf_counter() - started
    different = sum(a != b for a, b in zip(serial, together, strict=True))
    return {"calls": count, "threads": THREADS, "different": different, "seconds": seconds}


def picture(pipe: Pipeline, seed: int) -> bytes:
    """The pixels of a small picture: two steps, with guidance and noise."""
    prompt = f"a red circle {seed % 7}"
    settings: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "eta": 1.0}
    output = pipe(prompt, seed=seed, progress_bar=False, **settings)
    return bytes(output.images[0].tobytes())


def soak(bundle: Path, count: int, _: np.random.Generator) -> dict[str, Any]:
    """Picture after picture; resident memory after the first ones, and at the end."""
    started = time.perf_counter()
    with trt_pipeline(bundle, threads=1) as pipe:
        resident = []
        for seed in range(count):
            picture(pipe, seed)
            if seed >= WARM_UP:
                resident.append(resident_bytes())
    tenth = max(len(resident) // 10, 1)
    return {
        "pictures": count,
        "seconds": time.perf_counter() - started,
        "resident_bytes_first_tenth": float(np.mean(resident[:tenth])),
        "resident_bytes_last_tenth": float(np.mean(resident[-tenth:])),
        "resident_bytes_most": max(resident),
    }


def resident_bytes() -> int:
    """Memory of this process, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


RUNS: dict[str, Callable[[Path, int, np.random.Generator], dict[str, Any]]] = {
    run.__name__: run for run in (flips, mutations, threads, soak)
}


def main() -> int:
    """Parse the command line, run, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seen = RUNS[given.run](given.bundle, given.count, np.random.default_rng(given.seed))
    print(json.dumps({"run": given.run, "seed": given.seed, **seen}, indent=1))
    return int(bool(seen.get("accepted") or seen.get("different")))


if __name__ == "__main__":
    sys.exit(main())
