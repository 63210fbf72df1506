"""Small random checkpoints of the pipelines without prompts, saved by diffusers itself."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LDMPipeline,
    LDMSuperResolutionPipeline,
    UNet2DModel,
    VQModel,
)

SCHEDULE: dict[str, Any] = {"beta_start": 0.0015, "beta_end": 0.0195}


def make_unconditional(folder: Path) -> Path:
    """A LDMPipeline with attention, as CompVis/ldm-celebahq-256 has it."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=12,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, **SCHEDULE)
    LDMPipeline(_vq((16, 16, 32)), unet, scheduler).save_pretrained(folder)
    return folder


def make_super_resolution(folder: Path, quantized: bool = True) -> Path:
    """A LDMSuperResolutionPipeline that enlarges four times.

    Not with a scheduler that scales the model's input: diffusers scales the image with it.
    """
    torch.manual_seed(1)
    unet = UNet2DModel(
        sample_size=16,
        in_channels=6,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=None,
        norm_num_groups=8,
    )
    vae = _vq((16, 32, 32)) if quantized else _kl((16, 32, 32))
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear", timestep_spacing="leading", **SCHEDULE
    )
    LDMSuperResolutionPipeline(vae, unet, scheduler).save_pretrained(folder)
    return folder


def _vq(channels: tuple[int, ...]) -> VQModel:
    vae = VQModel(num_vq_embeddings=64, scaling_factor=1.0, **_shape(channels))
    torch.nn.init.normal_(vae.quantize.embedding.weight)
    return vae


def _kl(channels: tuple[int, ...]) -> AutoencoderKL:
    return AutoencoderKL(latent_channels=3, scaling_factor=1.0, **_shape(channels))


def _shape(channels: tuple[int, ...]) -> dict[str, Any]:
    return {
        "block_out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "norm_num_groups": 8,
    }
