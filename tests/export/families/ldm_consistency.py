"""Latent consistency models (arXiv:2310.04378) of LDMTextToImagePipeline's parts."""

from dataclasses import replace

from trt_export.families.ldm_text_to_image import FAMILY as TEXT_TO_IMAGE

FAMILY = replace(
    TEXT_TO_IMAGE,
    pipeline="LDMConsistencyPipeline",
    embeds_guidance=True,
    num_inference_steps=4,
    guidance_scale=8.5,
    reference=None,
)
