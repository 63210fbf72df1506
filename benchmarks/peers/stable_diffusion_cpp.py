"""stable-diffusion.cpp, through the wheel of cyllama.

    python -m peers.stable_diffusion_cpp single CHECKPOINT FOLDER

It takes no latents, so its pictures are others; a step costs what it costs. It keeps the weights of
convolutions as float16, and refuses models of other shapes than the published ones.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.arguments import counted
from trt_pipeline.bench.candidate import Parts
from trt_pipeline.bench.workload import Workload

SINGLE_FILE = "model.safetensors"
PREFIXES: Mapping[str, str] = {"text_encoder": "te.", "unet": "unet.", "vae": "vae."}
"""Part of a checkpoint → how the names of its weights begin in a single file, which says to
stable-diffusion.cpp that what follows are diffusers' names."""


class CppPeer:
    """A context that draws one picture after the other."""

    arithmetic = "fp16"
    """Of convolutions; matrix products are float32."""

    def __init__(self, model: str, side: int, threads: int) -> None:
        """model: a single file. side: of a picture, in pixels."""
        from cyllama.sd import SDContext, SDContextParams

        params = SDContextParams()
        params.model_path = model
        params.n_threads = threads
        self.device = f"CPU, {counted(threads, 'thread')}"
        self._side = side
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


def cpp_peer(checkpoint: str, threads: int, exported: str) -> CppPeer:
    """On the CPU."""
    unet = json.loads((Path(checkpoint) / "unet" / "config.json").read_text())
    return CppPeer(str(Path(exported) / SINGLE_FILE), unet["sample_size"] * 8, threads)


def write_single_file(checkpoint: Path, folder: Path) -> None:
    """Write the weights of all parts to one file."""
    from safetensors.numpy import load_file, save_file

    folder.mkdir(parents=True)
    weights = {
        prefix + name: weight
        for part, prefix in PREFIXES.items()
        for path in sorted((checkpoint / part).glob("*.safetensors"))
        for name, weight in load_file(path).items()
    }
    save_file(weights, folder / SINGLE_FILE)


if __name__ == "__main__":
    _, checkpoint, folder = sys.argv[1:]
    write_single_file(Path(checkpoint), Path(folder))
