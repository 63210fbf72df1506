"""What less work costs: time against prompt accuracy and against the exact picture.

    python benchmarks/tradeoffs.py engines/shapes --prompts 200 --json tradeoffs.json

The exact picture is the first line's, 50 guided steps of DDIM. All settings take turns on the same
prompts and seeds, one at a time, with the prompt's text in the cache. prompt_accuracy.py says what
is right.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_accuracy import Case, random_cases, tally
from trt_pipeline import Pipeline, trt_pipeline

Settings = Mapping[str, Any]
SETTINGS: Mapping[str, Settings] = {
    "DDIM, 50 steps": {"num_inference_steps": 50},
    "guided in the first 80 %": {"num_inference_steps": 50, "guidance_interval": (0.0, 0.8)},
    "guided in the first half": {"num_inference_steps": 50, "guidance_interval": (0.0, 0.5)},
    "cached every second step": {"num_inference_steps": 50, "cache_interval": 2},
    "cached two of three steps": {"num_inference_steps": 50, "cache_interval": 3},
    "DDIM, 20 steps": {"num_inference_steps": 20},
    "DDIM, 10 steps": {"num_inference_steps": 10},
    "DPM-Solver++, 20 steps": {"num_inference_steps": 20, "sampler": "dpmsolver++"},
    "DPM-Solver++, 10 steps": {"num_inference_steps": 10, "sampler": "dpmsolver++"},
    "UniPC, 20 steps": {"num_inference_steps": 20, "sampler": "unipc"},
    "UniPC, 20, every second cached": {
        "num_inference_steps": 20,
        "sampler": "unipc",
        "cache_interval": 2,
    },
    "UniPC, 10 steps": {"num_inference_steps": 10, "sampler": "unipc"},
    "UniPC, 6 steps": {"num_inference_steps": 6, "sampler": "unipc"},
}
PEAK = 255.0
EQUAL = PEAK**2 / 10**9.9
"""Squared error below which pictures count as equal: 99 dB."""


def measure(
    pipe: Pipeline, cases: Sequence[Case], guidance_scale: float
) -> dict[str, dict[str, float]]:
    """Seconds per picture, percent right and dB from the exact pictures, for each setting."""
    pictures: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in SETTINGS}
    seconds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for seed, case in enumerate(cases):
        common: dict[str, Any] = {
            "guidance_scale": guidance_scale,
            "seed": seed,
            "progress_bar": False,
        }
        pipe(case.prompt, **common, num_inference_steps=1)  # fills the text cache
        for name, settings in SETTINGS.items():
            started = time.perf_counter()
            image = pipe(case.prompt, **common, **settings).images[0]
            seconds[name].append(time.perf_counter() - started)
            pictures[name].append(np.asarray(image))
    exact = next(iter(pictures.values()))
    return {
        name: {
            "seconds": float(np.median(seconds[name])),
            "percent_right": percent_right(cases, pictures[name]),
            "psnr": psnr(pictures[name], exact),
        }
        for name in SETTINGS
    }


def percent_right(cases: Sequence[Case], pictures: Sequence[NDArray[np.uint8]]) -> float:
    """Of the pictures, those that show what their prompts ask for."""
    right = tally(cases, iter(pictures))["right"]
    count: int = sum(right[kind]["right"] for kind in ("single", "double"))
    return 100 * count / len(cases)


def psnr(pictures: Sequence[NDArray[np.uint8]], exact: Sequence[NDArray[np.uint8]]) -> float:
    """Of all pixels together, in dB; 99 for equal ones."""
    error = np.mean((np.stack(pictures).astype(float) - np.stack(exact)) ** 2)
    return float(10 * np.log10(PEAK**2 / max(error, EQUAL)))


def print_table(report: Mapping[str, Mapping[str, float]]) -> None:
    """The report for people."""
    slowest = next(iter(report.values()))["seconds"]
    print(f"{'':<30} {'seconds':>8} {'ratio':>7} {'right':>8} {'PSNR':>9}")
    for name, row in report.items():
        ratio = f"{slowest / row['seconds']:.2f}×"
        right, distance = f"{row['percent_right']:.1f} %", f"{row['psnr']:.1f} dB"
        print(f"{name:<30} {row['seconds']:>8.3f} {ratio:>7} {right:>8} {distance:>9}")


def main() -> None:
    """Measures, prints, and writes JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--backend")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    arguments = parser.parse_args()
    with trt_pipeline(arguments.bundle, backend=arguments.backend) as pipe:
        pipe("warm", num_inference_steps=2, progress_bar=False)
        cases = random_cases(arguments.prompts, seed=0)
        report = measure(pipe, cases, arguments.guidance_scale)
    print_table(report)
    if arguments.json:
        settings = {"prompts": arguments.prompts, "guidance_scale": arguments.guidance_scale}
        arguments.json.write_text(json.dumps({**settings, "rows": report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
