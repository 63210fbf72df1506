"""Architectures beyond the published models', exported and compared with diffusers' pictures."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LDMPipeline,
    LDMTextToImagePipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)

from tests.shared import once
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.twin import TEXT_TO_IMAGE as PUBLISHED
from trt_pipeline import TorchGenerator, trt_pipeline

CHURCHES: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 5,
    "out_channels": 5,
    "block_out_channels": (16, 16, 32, 32),
    "down_block_types": (
        "ResnetDownsampleBlock2D",
        "AttnDownBlock2D",
        "ResnetDownsampleBlock2D",
        "AttnDownBlock2D",
    ),
    "up_block_types": (
        "AttnUpBlock2D",
        "ResnetUpsampleBlock2D",
        "AttnUpBlock2D",
        "ResnetUpsampleBlock2D",
    ),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
    "layers_per_block": 1,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
    "act_fn": "mish",
}
"""Resampled by ResNet blocks, which scale and shift by the time, as CompVis' LSUN churches has."""
DEEP: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (16,) * 5,
    "down_block_types": ("DownBlock2D",) * 5,
    "up_block_types": ("UpBlock2D",) * 5,
    "mid_block_type": None,
    "downsample_padding": 0,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "act_fn": "relu",
}
"""Sixteen pixels of latents become one."""
LISTED: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("ResnetUpsampleBlock2D", "CrossAttnUpBlock2D"),
    "only_cross_attention": [True, False],
    "layers_per_block": [1, 2],
    "cross_attention_dim": [32, 32],
    "transformer_layers_per_block": [[2], [1, 1]],
    "reverse_transformer_layers_per_block": [[1, 1, 1], [1, 2]],
    "attention_head_dim": [2, 4],
    "use_linear_projection": True,
    "resnet_skip_time_act": True,
    "resnet_out_scale_factor": 1.25,
    "time_embedding_act_fn": "silu",
    "timestep_post_act": "mish",
    "time_embedding_dim": 24,
    "conv_in_kernel": 1,
    "conv_out_kernel": 5,
    "norm_num_groups": 8,
    "act_fn": "gelu",
}
"""A value for each level wherever diffusers takes one."""
BERT: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "head_dim": 12,
    "activation_function": "quick_gelu",
}
KL: dict[str, Any] = {
    "block_out_channels": (8, 8, 8, 16),
    "down_block_types": (*["DownEncoderBlock2D"] * 3, "AttnDownEncoderBlock2D"),
    "up_block_types": ("AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3),
    "mid_block_add_attention": False,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "act_fn": "gelu",
    "norm_num_groups": 4,
}
SETTINGS: dict[str, Any] = {"num_inference_steps": 4, "output_type": "np"}
SCHEDULER = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False)


def make_unconditional(unet: dict[str, Any], codes: int, folder: Path) -> Path:
    """A LDMPipeline and its bundle."""
    torch.manual_seed(0)
    vae = VQModel(
        num_vq_embeddings=64,
        vq_embed_dim=codes,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
        norm_num_groups=4,
        scaling_factor=1.0,
    )
    torch.nn.init.normal_(vae.quantize.embedding.weight)
    LDMPipeline(vae, UNet2DModel(**unet), SCHEDULER).save_pretrained(folder / "checkpoint")
    return export(folder)


def make_text_to_image(folder: Path) -> Path:
    """A LDMTextToImagePipeline and its bundle."""
    torch.manual_seed(0)
    shutil.copytree(PUBLISHED, folder / "checkpoint")
    UNet2DConditionModel(**LISTED).save_pretrained(folder / "checkpoint" / "unet")
    AutoencoderKL(**KL).save_pretrained(folder / "checkpoint" / "vqvae")
    LDMBertModel(LDMBertConfig(**BERT)).save_pretrained(folder / "checkpoint" / "bert")
    return export(folder)


def export(folder: Path) -> Path:
    checkpoint = open_checkpoint(str(folder / "checkpoint"))
    export_checkpoint(checkpoint, folder / "bundle", ExportOptions("fp32"))
    return folder


def differing(found: Any, expected: Any) -> float:
    """The share of numbers that are more than 1/255 apart."""
    return float((np.abs(np.asarray(found) - np.asarray(expected)) > 1.01 / 255).mean())


@pytest.mark.parametrize(
    ("name", "unet", "codes", "smallest"),
    [("churches", CHURCHES, 5, 16), ("deep", DEEP, 3, 32)],
    ids=["churches", "deep"],
)
def test_pictures_of_an_unconditional_model_match_diffusers(
    name: str,
    unet: dict[str, Any],
    codes: int,
    smallest: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = once(tmp_path_factory, name, lambda at: make_unconditional(unet, codes, at))
    theirs = LDMPipeline.from_pretrained(folder / "checkpoint")
    theirs.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    expected = theirs(batch_size=2, **SETTINGS).images
    with trt_pipeline(folder / "bundle") as pipe:
        ours = {"generator": TorchGenerator(0), "progress_bar": False, **SETTINGS}
        assert differing(pipe(num_images_per_prompt=2, **ours).images, expected) <= 1e-3
        assert pipe.bundle.limits.height[0] == smallest
        odd = pipe(height=smallest, width=smallest + 6, **ours).images[0]
        assert np.asarray(odd).shape == (smallest, smallest + 6, 3)


def test_pictures_of_a_model_with_lists_match_diffusers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = once(tmp_path_factory, "listed", make_text_to_image)
    theirs = LDMTextToImagePipeline.from_pretrained(folder / "checkpoint")
    theirs.set_progress_bar_config(disable=True)
    settings = {"guidance_scale": 3.0, **SETTINGS}
    generator = torch.Generator().manual_seed(0)
    expected = theirs("a red circle", height=64, width=80, generator=generator, **settings).images
    with trt_pipeline(folder / "bundle") as pipe:
        ours = {"generator": TorchGenerator(0), "progress_bar": False, **settings}
        found = pipe("a red circle", height=64, width=80, **ours).images
        assert differing(found, expected) <= 1e-3
