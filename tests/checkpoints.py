"""Small random checkpoints in the layout of LDMTextToImagePipeline, of several architectures."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)

from trt_export.checkpoint.twin import PUBLISHED


@dataclass(frozen=True, slots=True)
class Architecture:
    """What differs between two checkpoints; the rest is small."""

    unet: dict[str, Any]
    vqvae: dict[str, Any] = field(default_factory=dict)
    bert: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)


PLAIN = Architecture(
    unet={
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 4,
    }
)
OTHER = Architecture(
    unet={
        "sample_size": 10,
        "block_out_channels": (24, 48, 72),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": (1, 2, 1),
        "attention_head_dim": (2, 4, 6),
        "norm_num_groups": 8,
        "in_channels": 3,
        "out_channels": 3,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    },
    vqvae={"block_out_channels": (8, 16, 16, 24), "latent_channels": 3, "scaling_factor": 0.5},
    bert={"encoder_layers": 1, "encoder_attention_heads": 2, "head_dim": 12, "vocab_size": 30530},
    scheduler={"beta_schedule": "scaled_linear", "steps_offset": 1, "set_alpha_to_one": False},
)
"""Other than PLAIN in levels, layers, heads and channels per level, latents and schedule."""


def make_checkpoint(folder: Path, architecture: Architecture = PLAIN, seed: int = 0) -> Path:
    """Write a checkpoint with seeded random weights."""
    shutil.copytree(PUBLISHED, folder)
    torch.manual_seed(seed)
    _unet(architecture.unet).save_pretrained(folder / "unet")
    _vqvae(architecture.vqvae).save_pretrained(folder / "vqvae")
    _bert(architecture.bert).save_pretrained(folder / "bert")
    edit_json(folder / "scheduler" / "scheduler_config.json", **architecture.scheduler)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object in a file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _unet(config: dict[str, Any]) -> UNet2DConditionModel:
    small = {"sample_size": 8, "cross_attention_dim": 48, "norm_num_groups": 16}
    return UNet2DConditionModel(**{**small, **config})


def _vqvae(config: dict[str, Any]) -> AutoencoderKL:
    small = {
        "block_out_channels": (16, 16, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "norm_num_groups": 8,
    }
    return AutoencoderKL(**{**small, **config})


def _bert(config: dict[str, Any]) -> LDMBertModel:
    small = {"d_model": 48, "encoder_ffn_dim": 96, "encoder_attention_heads": 4, "head_dim": 8}
    return LDMBertModel(LDMBertConfig(**{"encoder_layers": 2, **small, **config}))
