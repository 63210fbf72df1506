"""Prompts to pictures with latent diffusion, without PyTorch.

from trt_pipeline import trt_pipeline

pipe = trt_pipeline("engines/shapes")
pipe("a red circle", guidance_scale=6, seed=0).images[0].save("circle.png")
"""

from trt_pipeline.base_pipeline import PipelineInfo
from trt_pipeline.bundle import Bundle, load_bundle
from trt_pipeline.errors import (
    BackendError,
    BundleError,
    BundleVersionError,
    CheckpointError,
    GenerationCancelledError,
    IntegrityError,
    InvalidInputError,
    MissingDependencyError,
    ParityError,
    TrtPipelineError,
    UnknownArgumentError,
)
from trt_pipeline.metadata import Settings, read_settings
from trt_pipeline.noise import NoiseStream, SeedNoise, TorchGenerator
from trt_pipeline.outputs import PipelineOutput, Step
from trt_pipeline.pipeline import Pipeline, trt_pipeline
from trt_pipeline.super_resolution import SuperResolutionPipeline
from trt_pipeline.tokenizer import PromptTruncatedWarning
from trt_pipeline.unconditional import UnconditionalPipeline
from trt_pipeline.version import package_version

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "BundleVersionError",
    "CheckpointError",
    "GenerationCancelledError",
    "IntegrityError",
    "InvalidInputError",
    "MissingDependencyError",
    "NoiseStream",
    "ParityError",
    "Pipeline",
    "PipelineInfo",
    "PipelineOutput",
    "PromptTruncatedWarning",
    "SeedNoise",
    "Settings",
    "Step",
    "SuperResolutionPipeline",
    "TorchGenerator",
    "TrtPipelineError",
    "UnconditionalPipeline",
    "UnknownArgumentError",
    "__version__",
    "load_bundle",
    "read_settings",
    "trt_pipeline",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        return package_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
