"""LDMTextToImagePipeline, as CompVis/ldm-text2im-large-256."""

from trt_export.families import (
    BERT_TOKENIZER,
    DIFFUSERS_WEIGHTS,
    SCHEDULER,
    TRANSFORMERS_WEIGHTS,
    Family,
    Part,
)

FAMILY = Family(
    pipeline="LDMTextToImagePipeline",
    parts={
        "text_encoder": Part(
            "bert",
            classes=("LDMBertModel",),
            weights=TRANSFORMERS_WEIGHTS,
            library="latent_diffusion",
        ),
        "unet": Part("unet", classes=("UNet2DConditionModel",), weights=DIFFUSERS_WEIGHTS),
        "vae": Part(
            "vqvae",
            classes=("AutoencoderKL",),
            weights=DIFFUSERS_WEIGHTS,
            other_folders=("vae",),
        ),
        "scheduler": SCHEDULER,
        "tokenizer": BERT_TOKENIZER,
    },
    image_to_image=True,
    num_inference_steps=50,
    reference="LDMTextToImagePipeline",
)
