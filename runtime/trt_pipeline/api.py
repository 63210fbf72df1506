"""All that the package offers, in one place: what `import trt_pipeline` finds on first use."""

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
from trt_pipeline.images import save_picture
from trt_pipeline.metadata import Settings, read_settings
from trt_pipeline.noise import NoiseStream, SeedNoise, TorchGenerator
from trt_pipeline.outputs import PipelineOutput, Step
from trt_pipeline.pipeline import Pipeline, trt_pipeline
from trt_pipeline.super_resolution import SuperResolutionPipeline
from trt_pipeline.tokenizer import PromptTruncatedWarning
from trt_pipeline.unconditional import UnconditionalPipeline

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
    "load_bundle",
    "read_settings",
    "save_picture",
    "trt_pipeline",
]
