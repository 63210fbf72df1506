"""Small random checkpoints of every family, in diffusers' layout."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LDMPipeline,
    LDMSuperResolutionPipeline,
    LDMTextToImagePipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from transformers import AddedToken, BertTokenizerFast

from trt_export.twin import TEXT_TO_IMAGE as PUBLISHED

WORDS = Path(__file__).with_name("golden") / "vocab.txt"
"""A small vocabulary."""


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


MADE_TOKENS = ("<cat-toy>", "sks")
"""Those that make_saved adds."""


def make_saved(folder: Path) -> Path:
    """PLAIN with a tokenizer of its own, saved by the libraries that are installed.

    Textual inversion has added tokens; the start and the end are other tokens than BERT's, and
    prompts are padded and cut on the left.
    """
    torch.manual_seed(2)
    tokenizer = BertTokenizerFast(
        str(WORDS), cls_token="a", sep_token="the", padding_side="left", truncation_side="left"
    )
    tokenizer.add_tokens([MADE_TOKENS[0], AddedToken(MADE_TOKENS[1], single_word=True)])
    bert = _bert({"vocab_size": len(tokenizer), "init_std": 1.0})
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False)
    LDMTextToImagePipeline(
        _vqvae({}), bert, tokenizer, _unet(PLAIN.unet), scheduler
    ).save_pretrained(folder)
    return folder


SCHEDULE: dict[str, Any] = {"beta_start": 0.0015, "beta_end": 0.0195}


def make_unconditional(folder: Path, scaling_factor: float = 0.5) -> Path:
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
    LDMPipeline(_vq((16, 16, 32), scaling_factor), unet, scheduler).save_pretrained(folder)
    return folder


def make_super_resolution(folder: Path, quantized: bool = True) -> Path:
    """A LDMSuperResolutionPipeline that enlarges four times, or twice if it is not quantized.

    Not with a scheduler that scales the model's input: diffusers scales the image with it.
    """
    torch.manual_seed(1)
    channels = (16, 32) if quantized else (16,)
    unet = UNet2DModel(
        sample_size=16,
        in_channels=6,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        layers_per_block=1,
        attention_head_dim=None,
        norm_num_groups=8,
    )
    # The pipeline reads no scaling factor, whatever the VAE has.
    vae = _vq((16, 32, 32), 0.18215) if quantized else _kl((16, 32), 0.5)
    scheduler = DPMSolverMultistepScheduler(
        beta_schedule="scaled_linear", timestep_spacing="leading", **SCHEDULE
    )
    LDMSuperResolutionPipeline(vae, unet, scheduler).save_pretrained(folder)
    return folder


def make_wide(folder: Path) -> Path:
    """A small LDMPipeline whose decoder's numbers reach 700,000, far beyond float16; its
    normalisation takes the factor out again."""
    torch.manual_seed(2)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(16,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        attention_head_dim=None,
        norm_num_groups=8,
    )
    vae = _vq((16, 16), 0.18215)
    with torch.no_grad():
        vae.decoder.conv_in.weight.mul_(1e6 / vae.decoder.conv_in.weight.abs().max() / 20)
    scheduler = DDIMScheduler(clip_sample=False, **SCHEDULE)
    LDMPipeline(vae, unet, scheduler).save_pretrained(folder)
    return folder


def _vq(channels: tuple[int, ...], scaling_factor: float) -> VQModel:
    vae = VQModel(num_vq_embeddings=64, scaling_factor=scaling_factor, **_shape(channels))
    torch.nn.init.normal_(vae.quantize.embedding.weight)
    return vae


def _kl(channels: tuple[int, ...], scaling_factor: float) -> AutoencoderKL:
    return AutoencoderKL(latent_channels=3, scaling_factor=scaling_factor, **_shape(channels))


def _shape(channels: tuple[int, ...]) -> dict[str, Any]:
    return {
        "block_out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "norm_num_groups": 8,
    }
