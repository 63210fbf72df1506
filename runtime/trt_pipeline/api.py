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
from trt_pipeline.pictures.metadata import read_settings
from trt_pipeline.pipelines.outputs import PipelineOutput, Step
from trt_pipeline.pipelines.pipeline import Pipeline, PipelineInfo, trt_pipeline
from trt_pipeline.pipelines.request import Request
from trt_pipeline.sampling.noise import NoiseStream, SeedNoise, TorchGenerator
from trt_pipeline.sampling.samples import Sample
from trt_pipeline.settings import Settings
from trt_pipeline.text.tokenizer import PromptTruncatedWarning

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
    "Request",
    "Sample",
    "SeedNoise",
    "Settings",
    "Step",
    "TorchGenerator",
    "TrtPipelineError",
    "UnknownArgumentError",
    "load_bundle",
    "read_settings",
    "save_picture",
    "trt_pipeline",
]
