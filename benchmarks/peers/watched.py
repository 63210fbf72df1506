"""What peers that are pipelines of diffusers' kind share: a call, and the time of its parts."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bench.candidate import Parts
from trt_pipeline.bench.finishing import finishing_parts
from trt_pipeline.bench.workload import Workload
from trt_pipeline.pictures.images import to_pil
from trt_pipeline.sampling.noise import TorchGenerator


class WatchedPeer:
    """A pipeline, watched while it runs."""

    device: str
    arithmetic = "fp32"

    def __init__(self, pipeline: Any, **settings: Any) -> None:
        """settings: further ones of every call."""
        self.pipeline = pipeline
        self.settings = settings
        self._seconds: Parts = {}

    def replace(
        self, owner: Any, method: str, part: str, function: Callable[..., Any] | None = None
    ) -> None:
        """Let a function, or the method itself, run in the method's place and be timed."""
        setattr(owner, method, self.watched(part, function or getattr(owner, method)))

    def watched(self, part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose time counts for a part."""

        def timed(*args: Any, **settings: Any) -> Any:
            self._wait()
            started = time.perf_counter()
            result = run(*args, **settings)
            self._wait()
            self._seconds.setdefault(part, []).append(time.perf_counter() - started)
            return result

        return timed

    def generate(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3] of a picture for each prompt."""
        return np.stack([np.asarray(image) for image in to_pil(self._pixels(workload, prompts))])

    def parts(self, workload: Workload, prompts: Sequence[str]) -> Parts:
        """Seconds of each network's runs, of the tokenizer, and of what follows the decoder."""
        self._seconds.clear()
        started = time.perf_counter()
        pixels = self._pixels(workload, prompts)
        to_pil(pixels)
        called = time.perf_counter()
        self.pipeline.tokenizer(list(prompts), padding="max_length", max_length=77, truncation=True)
        return {
            "tokenize": [time.perf_counter() - called],
            **{part: list(seconds) for part, seconds in self._seconds.items()},
            **finishing_parts(lambda: to_pil(pixels)),
            "total": [called - started],
        }

    def _pixels(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        images: NDArray[np.float32] = self.pipeline(
            list(prompts),
            num_inference_steps=workload.num_inference_steps,
            guidance_scale=workload.guidance_scale,
            eta=workload.eta,
            latents=self._latents(workload, len(prompts)),
            output_type="np",
            **self.settings,
        ).images
        return np.rint(images * 255).astype(np.uint8)

    def _latents(self, workload: Workload, count: int) -> Any:
        """The noise to begin with, [B, C, h, w]."""
        raise NotImplementedError

    def _wait(self) -> None:
        """Until what was started is done."""


def noise(workload: Workload, count: int, channels: int, side: int) -> NDArray[np.float32]:
    """What torch.randn gives for the workload's seed."""
    return TorchGenerator(workload.seed).draw((count, channels, side, side))
