"""Picture quality against steps, for each sampler: a JSON file and a chart.

    python benchmarks/sampler_chart.py engines/shapes docs/explanation/samplers --prompts 100

Quality is the part of the pictures that show what their prompts ask for, as prompt_accuracy.py
counts it; every sampler gets the same prompts and seeds.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from prompt_accuracy import Case, generated, random_cases, tally
from trt_pipeline import Pipeline, trt_pipeline
from trt_pipeline.sampling.samplers import SAMPLERS

STEPS = (3, 5, 8, 12, 20, 50)
CHARTED = [name for name in SAMPLERS if name not in ("lcm", "tcd")]
"""Those two are for distilled models, which no bundle of this repository is."""

Curve = Mapping[int, float]
"""Steps to percent of the pictures that are right."""


def measure(
    pipe: Pipeline, sampler: str, steps: Sequence[int], cases: Sequence[Case], guidance: float
) -> Curve:
    """One sampler's curve."""
    call = partial(pipe, sampler=sampler)
    curve = {}
    for count in steps:
        report = tally(cases, generated(cases, call, guidance, count, seed=0))
        right = sum(report["right"][kind]["right"] for kind in ("single", "double"))
        curve[count] = round(100 * right / len(cases), 1)
        print(f"{sampler:<20} {count:>4} steps {curve[count]:>6.1f} %", flush=True)
    return curve


def draw(curves: Mapping[str, Curve], path: Path, title: str) -> None:
    """The chart, as PNG."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for (sampler, curve), marker in zip(curves.items(), "ohsv^D*PX<>", strict=True):
        axes.plot([*curve], [*curve.values()], marker=marker, label=sampler)
    axes.set(xscale="log", xlabel="steps", ylabel="right pictures, %", title=title)
    axes.set_xticks(STEPS, [str(step) for step in STEPS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measures every sampler and writes OUT.json and OUT.png."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path, help="name of the files to write, without suffix")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS)
    arguments = parser.parse_args()
    cases = random_cases(arguments.prompts, seed=0)
    with trt_pipeline(arguments.bundle) as pipe:
        curves = {
            name: measure(pipe, name, arguments.steps, cases, arguments.guidance_scale)
            for name in CHARTED
        }
    settings = {"prompts": arguments.prompts, "guidance_scale": arguments.guidance_scale}
    report = json.dumps({**settings, "percent_right": curves}, indent=1)
    arguments.out.with_suffix(".json").write_text(report + "\n")
    title = f"{arguments.prompts} prompts, guidance {arguments.guidance_scale:g}"
    draw(curves, arguments.out.with_suffix(".png"), title)


if __name__ == "__main__":
    main()
