"""stable-diffusion.cpp, through the wheel of cyllama.

It takes no latents, so its pictures are others; its steps cost what they cost.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.arguments import counted
from trt_pipeline.bench.candidate import Parts
from trt_pipeline.bench.workload import Workload


class CppPeer:
    """A context that draws one picture after the other."""

    arithmetic = "fp32"

    def __init__(self, checkpoint: str, threads: int) -> None:
        from cyllama.sd import SDContext, SDContextParams

        params = SDContextParams()
        params.model_path = checkpoint
        params.n_threads = threads
        unet = json.loads((Path(checkpoint) / "unet" / "config.json").read_text())
        self._side = unet["sample_size"] * 8
        self.device = f"CPU, {counted(threads, 'thread')}"
        self._context = SDContext(params)

    def generate(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3] of a picture for each prompt."""
        return np.concatenate([self._draw(workload, prompt) for prompt in prompts])

    def _draw(self, workload: Workload, prompt: str) -> Any:
        from cyllama.sd import SampleMethod

        (image,) = self._context.generate(
            prompt,
            sample_steps=workload.num_inference_steps,
            cfg_scale=workload.guidance_scale,
            sample_method=SampleMethod.EULER,
            seed=workload.seed,
            width=self._side,
            height=self._side,
        )
        return image.to_numpy()[None]

    def parts(self, workload: Workload, prompts: Sequence[str]) -> Parts:
        """Seconds of a call as a whole, as it reports no other."""
        started = time.perf_counter()
        self.generate(workload, prompts)
        return {"total": [time.perf_counter() - started]}


def cpp_peer(checkpoint: str, threads: int) -> CppPeer:
    """On the CPU, in float32."""
    return CppPeer(checkpoint, threads)
