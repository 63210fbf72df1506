"""Prompt accuracy: how many of a bundle's pictures show what their prompts ask for.

    python benchmarks/prompt_accuracy.py engines/shapes --guidance-scale 1.5 --eta 0.5

The pictures are read from their pixels, by trt_export/shapes/reader.py. `--drawn` reads scenes
that the training data's own code drew instead: the reader's accuracy.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_export.shapes.judge import judge
from trt_export.shapes.reader import read_scene
from trt_export.shapes.scenes import (
    ALL_PAIRS,
    HELD_OUT,
    SEEN_PAIRS,
    Scene,
    random_double,
    random_single,
)
from trt_pipeline.backends import BACKENDS

HELD_OUT_SHARE = 0.3
"""Part of the prompts that name a colour and shape never seen together in training."""
BATCH = 25
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt, and the scene that it describes."""

    scene: Scene
    prompt: str

    @property
    def kind(self) -> str:
        """The group that the case is reported in."""
        held_out = any((shape.color, shape.name) in HELD_OUT for shape in self.scene.shapes)
        count = "single" if len(self.scene.shapes) == 1 else "double"
        return f"{count}, {'held out' if held_out else 'seen'}"


def random_cases(count: int, seed: int) -> list[Case]:
    """As many prompts on one shape as on two, some of them on held-out combinations."""
    rng = np.random.default_rng(seed)
    scenes = [_random_scene(rng, single=number % 2 == 0) for number in range(count)]
    return [Case(scene, scene.caption(rng)) for scene in scenes]


def _random_scene(rng: np.random.Generator, single: bool) -> Scene:
    held_out = rng.random() < HELD_OUT_SHARE
    pairs = tuple(sorted(HELD_OUT)) if held_out else SEEN_PAIRS
    if single:
        return random_single(rng, pairs)
    return random_double(rng, pairs, ALL_PAIRS if held_out else SEEN_PAIRS)


def tally(cases: Sequence[Case], pictures: Iterator[Picture]) -> dict[str, Any]:
    """Right answers and questions, per kind of prompt and per thing that prompts say."""
    kinds: dict[str, Counter[str]] = {}
    details: dict[str, Counter[str]] = {}
    for case, picture in zip(cases, pictures, strict=True):
        for thing, right in judge(case.scene, read_scene(picture)).items():
            groups = [case.kind, case.kind.split(",")[0]] if thing == "right" else []
            counters = [kinds.setdefault(group, Counter()) for group in groups]
            counters += [details.setdefault(thing, Counter())] if not groups else []
            for counter in counters:
                counter.update(right=int(right), of=1)
    return {"right": _plain(kinds), "details": _plain(details)}


def _plain(counters: dict[str, Counter[str]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "right": counter["right"],
            "of": counter["of"],
            "percent": round(100 * counter["right"] / counter["of"], 1),
        }
        for name, counter in sorted(counters.items())
    }


def drawn(cases: Sequence[Case]) -> Iterator[Picture]:
    """The scenes themselves."""
    return (case.scene.draw() for case in cases)


def generated(
    cases: Sequence[Case],
    pipe: Callable[..., Any],
    guidance_scale: float,
    steps: int,
    seed: int,
    eta: float = 0.0,
) -> Iterator[Picture]:
    """Pictures of the prompts; case n has the seed `seed + n` whatever the batch."""
    for first in range(0, len(cases), BATCH):
        prompts = [case.prompt for case in cases[first : first + BATCH]]
        images = pipe(
            prompts,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            eta=eta,
            seed=[seed + first + number for number in range(len(prompts))],
            progress_bar=False,
        ).images
        yield from (np.asarray(image.convert("RGB")) for image in images)


def print_table(report: dict[str, Any]) -> None:
    """The report for people."""
    for part in ("right", "details"):
        for name, score in report[part].items():
            print(f"{name:<20} {score['right']:>5} of {score['of']:<5} {score['percent']:>6.1f} %")
        print()


def main() -> None:
    """Generates or draws, reads, and reports."""
    arguments = _parser().parse_args()
    cases = random_cases(arguments.prompts, arguments.seed)
    settings = {"prompts": arguments.prompts, "seed": arguments.seed}
    if arguments.drawn:
        report = settings | tally(cases, drawn(cases))
    else:
        from trt_pipeline import trt_pipeline

        pipe = trt_pipeline(arguments.bundle, backend=arguments.backend)
        scale, steps, eta = arguments.guidance_scale, arguments.steps, arguments.eta
        used = {"backend": pipe.info.backend, "guidance_scale": scale, "steps": steps, "eta": eta}
        pictures = generated(cases, pipe, scale, steps, arguments.seed, eta)
        report = settings | used | tally(cases, pictures)
    print_table(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("bundle", nargs="?", type=Path, help="folder that export-all wrote")
    what.add_argument("--drawn", action="store_true", help="judge drawn scenes instead")
    parser.add_argument("--backend", choices=BACKENDS, help="the best that can run here")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--guidance-scale", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here as well")
    return parser


if __name__ == "__main__":
    main()
