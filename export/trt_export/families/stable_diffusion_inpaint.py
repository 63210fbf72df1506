"""StableDiffusionInpaintPipeline: models that see the mask and the picture around it."""

from dataclasses import replace

from trt_export.families.stable_diffusion import FAMILY as PLAIN

FAMILY = replace(
    PLAIN,
    pipeline="StableDiffusionInpaintPipeline",
    other_pipelines=(),
    condition="masked_image",
    reference="StableDiffusionInpaintPipeline",
    scheduler_settings={"steps_offset": 1, "skip_prk_steps": True},
)
