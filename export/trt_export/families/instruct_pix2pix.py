"""StableDiffusionInstructPix2PixPipeline: models that change a picture as told."""

from dataclasses import replace

from trt_export.families.stable_diffusion import FAMILY as PLAIN

FAMILY = replace(
    PLAIN,
    pipeline="StableDiffusionInstructPix2PixPipeline",
    other_pipelines=(),
    condition="image",
    num_inference_steps=100,
    reference="StableDiffusionInstructPix2PixPipeline",
    scheduler_settings={},
    corrected_sample_size=0,
)
