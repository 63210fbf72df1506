"""Small random networks that a bundle has on request: a tiny decoder and a safety checker."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessorPil

from tests.checkpoints import edit_json


def make_tiny_decoder(folder: Path, **config: Any) -> Path:
    """A TAESD of 8 pixels a latent."""
    torch.manual_seed(5)
    channels, blocks = (8, 8, 8, 8), (1, 1, 1, 1)
    small = {
        "encoder_block_out_channels": channels,
        "decoder_block_out_channels": channels,
        "num_encoder_blocks": blocks,
        "num_decoder_blocks": blocks,
    }
    AutoencoderTiny(**small | config).save_pretrained(folder)
    return folder


def add_safety_checker(checkpoint: Path, limit: float = 0.45) -> Path:
    """Give a checkpoint a small safety checker, which refuses about every second picture.

    limit: what the likeness to a concept must not exceed.
    """
    torch.manual_seed(6)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "initializer_factor": 20.0,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    for embeds in (checker.concept_embeds, checker.special_care_embeds):
        embeds.data.normal_()
    checker.concept_embeds_weights.data.fill_(limit)
    checker.special_care_embeds_weights.data.fill_(limit)
    checker.save_pretrained(checkpoint / "safety_checker")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**size).save_pretrained(checkpoint / "feature_extractor")
    edit_json(
        checkpoint / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )
    return checkpoint
