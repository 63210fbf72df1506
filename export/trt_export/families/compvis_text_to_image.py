"""CompVis' text-to-image model in CompVis' own layout: one file with a YAML, as the original
release has it."""

from dataclasses import replace

from trt_export.families import Section, SingleFile
from trt_export.families.ldm_text_to_image import FAMILY as TEXT_TO_IMAGE

FAMILY = replace(
    TEXT_TO_IMAGE,
    pipeline=None,
    single_file=SingleFile(
        networks={
            "text_encoder": Section(
                "cond_stage_config", "BERTEmbedder", "cond_stage_model.transformer."
            ),
            "unet": Section("unet_config", "UNetModel", "model.diffusion_model."),
            "vae": Section("first_stage_config", "AutoencoderKL", "first_stage_model."),
        },
        conditioning_key="crossattn",
    ),
)
