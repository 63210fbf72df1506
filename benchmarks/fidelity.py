"""How close the pictures of a bundle are to those of diffusers: same weights, same noise.

python benchmarks/fidelity.py CHECKPOINT BUNDLE [--seeds 4] [--json FILE]

Against the weights as the bundle stores them, only the order of float32 sums may differ. A float16
bundle is compared with the float32 weights of the checkpoint as well: that is what rounding costs.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from trt_export.networks.weights.precision import round_weights
from trt_pipeline import PipelineOutput, TorchGenerator, trt_pipeline

PROMPTS = ("a red circle", "a large blue square above a small green triangle")
COMPONENTS = ("bert", "unet", "vqvae")


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Difference of the pictures of one call."""

    weights: str
    """Which weights diffusers ran: "as stored" in the bundle, or "as published"."""
    seed: int
    within_one: float
    """Part of the colour values that are at most 1 of 255 apart."""
    largest: int
    """Largest difference, of 255."""
    psnr: float
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""


def load_diffusers(checkpoint: Path, *, rounded: bool) -> DiffusionPipeline:
    """diffusers' own pipeline, on request with weights rounded as a float16 bundle stores them."""
    pipeline = DiffusionPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    for component in COMPONENTS if rounded else ():
        round_weights(component, getattr(pipeline, component))
    return pipeline


def compare(
    theirs: DiffusionPipeline,
    ours: Callable[..., PipelineOutput],
    prompts: Sequence[str],
    seed: int,
    weights: str = "as stored",
    **settings: Any,
) -> Fidelity:
    """Generate with both from torch's noise for the seed, and measure the difference."""
    torch.manual_seed(seed)
    expected = theirs(list(prompts), output_type="np", **settings).images
    found = ours(
        list(prompts),
        generator=TorchGenerator(seed),
        output_type="np",
        progress_bar=False,
        **settings,
    ).images
    return measure(np.asarray(found), expected, seed, weights)


def measure(
    found: NDArray[np.float32], expected: NDArray[np.float32], seed: int, weights: str
) -> Fidelity:
    """Difference of two sets of pictures [B, H, W, 3] in 0..1, rounded to 255 levels."""
    difference = np.abs(np.rint(found * 255) - np.rint(expected * 255))
    error = float(np.square(difference / 255).mean())
    return Fidelity(
        weights=weights,
        seed=seed,
        within_one=float((difference <= 1).mean()),
        largest=int(difference.max()),
        psnr=-10 * float(np.log10(error)) if error else float("inf"),
    )


def main() -> None:
    """Compare over several seeds; print a line each."""
    arguments = _parser().parse_args()
    settings = {
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance_scale,
        "eta": arguments.eta,
    }
    rows = []
    with trt_pipeline(arguments.bundle) as ours:
        half = ours.bundle.precision == "fp16"
        for weights in ("as stored", "as published") if half else ("as stored",):
            rounded = half and weights == "as stored"
            theirs = load_diffusers(arguments.checkpoint, rounded=rounded)
            for seed in range(arguments.seeds):
                rows.append(compare(theirs, ours, arguments.prompts, seed, weights, **settings))
                print(_line(rows[-1]), flush=True)
    if arguments.json:
        report = {"settings": settings, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def _line(row: Fidelity) -> str:
    return (
        f"weights {row.weights:12}  seed {row.seed:3}  within 1: {row.within_one:8.3%}  "
        f"largest {row.largest:3}  PSNR {row.psnr:5.1f} dB"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pictures of a bundle against diffusers.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--prompts", nargs="+", default=list(PROMPTS))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=6.0)
    parser.add_argument("--eta", type=float, default=0.3)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    main()
