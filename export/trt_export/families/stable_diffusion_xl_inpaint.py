"""StableDiffusionXLInpaintPipeline: models that see the mask and the picture around it."""

from dataclasses import replace

from trt_export.families.stable_diffusion_xl import FAMILY as PLAIN

FAMILY = replace(
    PLAIN,
    pipeline="StableDiffusionXLInpaintPipeline",
    other_pipelines=(),
    condition="masked_image",
    guidance_scale=7.5,
    reference="StableDiffusionXLInpaintPipeline",
)
