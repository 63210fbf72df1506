"""Small random checkpoints of Stable Diffusion XL, saved by the libraries installed."""

from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
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
