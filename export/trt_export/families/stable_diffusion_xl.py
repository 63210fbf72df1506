"""StableDiffusionXLPipeline: Stable Diffusion XL, SDXL-Turbo, and fine-tunes of them."""

from trt_export.families import (
    CLIP_TOKENIZER,
    CLIP_TOKENIZER_2,
    DIFFUSERS_WEIGHTS,
    SCHEDULER,
    TRANSFORMERS_WEIGHTS,
    Family,
    Part,
)
from trt_export.families.stable_diffusion import DISTILLED

FAMILY = Family(
    pipeline="StableDiffusionXLPipeline",
    other_pipelines=("StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    parts={
        "text_encoder": Part(
            "text_encoder",
            classes=("CLIPTextModel",),
            weights=TRANSFORMERS_WEIGHTS,
            library="transformers",
        ),
        "text_encoder_2": Part(
            "text_encoder_2",
            classes=("CLIPTextModelWithProjection",),
            weights=TRANSFORMERS_WEIGHTS,
            library="transformers",
        ),
        "unet": Part("unet", classes=("UNet2DConditionModel",), weights=DIFFUSERS_WEIGHTS),
        "vae": Part("vae", classes=("AutoencoderKL",), weights=DIFFUSERS_WEIGHTS),
        "scheduler": SCHEDULER,
        "tokenizer": CLIP_TOKENIZER,
        "tokenizer_2": CLIP_TOKENIZER_2,
    },
    unread={
        "feature_extractor": "it prepares pictures for IP adapters",
        "safety_checker": "no pipeline of XL runs one",
        "image_encoder": "IP adapters read it, which a checkpoint does not hold",
    },
    refused={"requires_aesthetics_score": "it is a refiner, which reads another model's latents"},
    image_to_image=True,
    num_inference_steps=50,
    guidance_scale=5.0,
    distilled=DISTILLED,
    guides_above_1_only=True,
    zeros_for_empty_prompt=True,
    reference="StableDiffusionXLPipeline",
    normalizes_latents=True,
    scales_input=True,
)
