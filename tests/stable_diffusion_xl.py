"""Small random checkpoints of Stable Diffusion XL, saved by the libraries installed."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from tests.stable_diffusion import (
    SCHEDULE,
    small_text_encoder,
    small_unet,
    small_vae,
    write_tokenizer,
)

POOLED = 24
"""Numbers in text_embeds."""
SIZE_CHANNELS = 8
"""Of the sinusoid of each of six numbers."""


def small_text_encoder_2(tokenizer: CLIPTokenizer, **config: Any) -> CLIPTextModelWithProjection:
    """A second text encoder, wider and deeper than the first."""
    small = {
        "vocab_size": len(tokenizer),
        "hidden_size": 40,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 5,
        "hidden_act": "gelu",
        "projection_dim": POOLED,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_factor": 3.0,
    }
    return CLIPTextModelWithProjection(CLIPTextConfig(**small | config)).eval()


def small_xl_unet(**config: Any) -> UNet2DConditionModel:
    """A UNet of two levels, which reads both encoders, the pooled text and the sizes."""
    small = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (2, 4),
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
        "cross_attention_dim": 72,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": SIZE_CHANNELS,
        "projection_class_embeddings_input_dim": POOLED + 6 * SIZE_CHANNELS,
    }
    return small_unet(**small | config)


def small_xl(
    folder: Path,
    *,
    scheduler: Any = None,
    text_encoder: dict[str, Any] | None = None,
    text_encoder_2: dict[str, Any] | None = None,
    vae: dict[str, Any] | None = None,
    pipeline: Any = StableDiffusionXLPipeline,
    pipeline_settings: dict[str, Any] | None = None,
    **unet: Any,
) -> Any:
    """diffusers' pipeline of Stable Diffusion XL at a small size; its tokenizers lie in a folder.

    The second tokenizer pads with another token than the first, as published.
    """
    tokenizer = write_tokenizer(folder / "tokenizer")
    tokenizer_2 = write_tokenizer(folder / "tokenizer_2", pad_token="!")
    return pipeline(
        vae=small_vae(**{"scaling_factor": 0.13025, **(vae or {})}),
        text_encoder=small_text_encoder(tokenizer, **(text_encoder or {})),
        text_encoder_2=small_text_encoder_2(tokenizer_2, **(text_encoder_2 or {})),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=small_xl_unet(**unet),
        scheduler=scheduler or EulerDiscreteScheduler(timestep_spacing="leading", **SCHEDULE),
        **(pipeline_settings or {}),
    )


def make_xl(folder: Path, *, seed: int = 0, **others: Any) -> Path:
    """Save small_xl to a folder."""
    torch.manual_seed(seed)
    small_xl(folder, **others).save_pretrained(folder)
    return folder


def make_other_xl(folder: Path) -> Path:
    """Other widths, levels and heads; an end token that is found as the highest id; a negative
    prompt that is never zeros; v-prediction."""
    return make_xl(
        folder,
        seed=1,
        scheduler=EulerDiscreteScheduler(
            timestep_spacing="leading", prediction_type="v_prediction", **SCHEDULE
        ),
        text_encoder_2={"eos_token_id": 2, "hidden_size": 48, "num_attention_heads": 3},
        vae={"force_upcast": False},
        pipeline_settings={"force_zeros_for_empty_prompt": False},
        sample_size=12,
        block_out_channels=(16, 24, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 3, 4),
        transformer_layers_per_block=(1, 2, 3),
        layers_per_block=2,
        cross_attention_dim=80,
    )


def make_turbo_xl(folder: Path) -> Path:
    """SDXL-Turbo's scheduler."""
    scheduler = EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **SCHEDULE)
    return make_xl(folder, seed=2, scheduler=scheduler)


def make_inpaint_xl(folder: Path) -> Path:
    """A UNet that sees the mask and the masked picture."""
    return make_xl(folder, seed=3, pipeline=StableDiffusionXLInpaintPipeline, in_channels=9)


def make_wide_xl(folder: Path) -> Path:
    """A VAE whose decoder computes numbers beyond float16, as the published one does."""
    make_xl(folder, seed=4)
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["decoder.conv_in.weight"] *= 1e5
    save_file(weights, path, {"format": "pt"})
    return folder
