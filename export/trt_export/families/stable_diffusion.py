"""StableDiffusionPipeline: Stable Diffusion 1.x and 2.x, SD-Turbo, and fine-tunes of them."""

from trt_export.families import (
    CLIP_TOKENIZER,
    DIFFUSERS_WEIGHTS,
    SCHEDULER,
    TRANSFORMERS_WEIGHTS,
    Distilled,
    Family,
    Part,
)

DISTILLED = (
    # LCM-LoRA, arXiv:2311.05556, and trajectory consistency, arXiv:2402.19159, fused.
    Distilled(("LCMScheduler", "TCDScheduler"), 4),
    # SD-Turbo and SDXL-Turbo, arXiv:2311.17042.
    Distilled(
        ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
        1,
        settings={"timestep_spacing": "trailing", "prediction_type": "epsilon"},
    ),
)
"""Of every Stable Diffusion, XL as well."""

FAMILY = Family(
    pipeline="StableDiffusionPipeline",
    other_pipelines=(
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionInpaintPipelineLegacy",
    ),
    parts={
        "text_encoder": Part(
            "text_encoder",
            classes=("CLIPTextModel",),
            weights=TRANSFORMERS_WEIGHTS,
            library="transformers",
        ),
        "unet": Part("unet", classes=("UNet2DConditionModel",), weights=DIFFUSERS_WEIGHTS),
        "vae": Part("vae", classes=("AutoencoderKL",), weights=DIFFUSERS_WEIGHTS),
        "scheduler": SCHEDULER,
        "tokenizer": CLIP_TOKENIZER,
    },
    unread={
        "feature_extractor": "it prepares pictures for the safety checker",
        "image_encoder": "IP adapters read it, which a checkpoint does not hold",
        "safety_checker": "it looks at finished pictures",
    },
    image_to_image=True,
    num_inference_steps=50,
    guidance_scale=7.5,
    distilled=DISTILLED,
    guides_above_1_only=True,
    reference="StableDiffusionPipeline",
    scheduler_settings={"clip_sample": False, "steps_offset": 1},
    scales_input=True,
    corrected_sample_size=64,
)
