"""All that the package offers, in one place: what `import trt_pipeline` finds on first use."""

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
from trt_pipeline.pictures.images import save_picture
from trt_pipeline.pictures.metadata import Settings, read_settings
from trt_pipeline.pipelines.base import PipelineInfo
from trt_pipeline.pipelines.outputs import PipelineOutput, Step
from trt_pipeline.pipelines.super_resolution import SuperResolutionPipeline
from trt_pipeline.pipelines.text_to_image import Pipeline, trt_pipeline
from trt_pipeline.pipelines.tokenizer import PromptTruncatedWarning
from trt_pipeline.pipelines.unconditional import UnconditionalPipeline
from trt_pipeline.sampling.noise import NoiseStream, SeedNoise, TorchGenerator

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
