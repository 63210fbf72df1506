"""Pictures from noise alone: bundles of LDMPipeline, such as CompVis/ldm-celebahq-256's."""

from collections.abc import Callable, Sequence
from typing import Any, Never

from numpy.typing import ArrayLike

from trt_pipeline import arguments
from trt_pipeline.pipelines.base import BasePipeline, result_of
from trt_pipeline.pipelines.call import Call, CancelToken, OutputType, ProgressBar, check_call
from trt_pipeline.pipelines.outputs import PipelineOutput
from trt_pipeline.sampling.denoising import Part
from trt_pipeline.sampling.noise import NoiseStream


class UnconditionalPipeline(BasePipeline[Call]):
    """Makes pictures without a prompt; one may serve several threads."""

    KIND = "LDMPipeline"
    GRAPHS = ("time_embedding", "denoiser", "decoder")

    def __call__(
        self,
        batch_size: int = 1,
        generator: NoiseStream | Sequence[NoiseStream] | None = None,
        eta: float = 0.0,
        num_inference_steps: int = 50,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        *,
        height: int | None = None,
        width: int | None = None,
        latents: ArrayLike | None = None,
        seed: int | Sequence[int] | None = None,
        sampler: str | None = None,
        schedule: str = "published",
        timestep_spacing: str | None = None,
        cache_interval: int = 1,
        vae_tile_size: int | None = None,
        callback_on_step_end: Callable[..., Any] | None = None,
        cancel: CancelToken | None = None,
        progress_bar: ProgressBar = True,
        **unknown: Never,
    ) -> PipelineOutput:
        """Make batch_size pictures; the other arguments mean what they mean to Pipeline."""
        output = result_of(self._run_call(self._checked(locals()), watched=False))
        return output.returned(return_dict)

    def _check(self, batch_size: int = 1, **others: Any) -> Call:
        count = arguments.integer("batch_size", batch_size, 1, 10000)
        return check_call(self.bundle, count, **others)

    def _parts(self, call: Call) -> Sequence[Sequence[Part]]:
        parts = [Part(samples, {}) for samples in self._split(call.shape[0])]
        self._prepare(call, parts[0].samples)
        return [parts] * len(call.table.timesteps)
