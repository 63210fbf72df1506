"""Which settings of diffusers' first stages can be exported, and to which values."""

from collections.abc import Mapping
from typing import Any

from diffusers import AutoencoderKL, VQModel

from trt_export.networks.settings import (
    CHANNELS,
    FLAG,
    HARMLESS,
    LEVELS,
    POSITIVE,
    Rules,
    check_divisible,
    check_lengths,
    check_settings,
    names,
    only,
    optional,
    or_list,
    whole,
)

COMMON: Rules = {
    "in_channels": only(3),
    "out_channels": only(3),
    "down_block_types": names("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
    "up_block_types": names("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
    "block_out_channels": LEVELS,
    "layers_per_block": whole(1, 64),
    "act_fn": only("silu", "swish", "mish", "gelu", "relu"),
    "latent_channels": CHANNELS,
    "norm_num_groups": CHANNELS,
    "scaling_factor": POSITIVE,
    "mid_block_add_attention": FLAG,
    "force_upcast": FLAG,
}
"""What both have. force_upcast is for half-precision arithmetic in diffusers."""

KL: Rules = {
    **COMMON,
    "sample_size": or_list(whole(1, 2**16)),
    "shift_factor": HARMLESS,
    "latents_mean": HARMLESS,
    "latents_std": HARMLESS,
    "use_quant_conv": FLAG,
    "use_post_quant_conv": FLAG,
}
"""AutoencoderKL's. sample_size is read for tiles only, and none of the reference pipelines reads
shift_factor, latents_mean or latents_std: the finished picture proves it."""

VQ: Rules = {
    **COMMON,
    "sample_size": HARMLESS,
    "num_vq_embeddings": whole(1, 2**24),
    "vq_embed_dim": optional(CHANNELS),
    "norm_type": only("group"),
    "lookup_from_codebook": only(False),
}
"""VQModel's."""


def check_kl(config: Mapping[str, Any]) -> None:
    """ValueError names a setting of an AutoencoderKL that cannot be exported."""
    _check_relations(check_settings(AutoencoderKL, config, KL))


def check_vq(config: Mapping[str, Any]) -> None:
    """ValueError names a setting of a VQModel that cannot be exported."""
    _check_relations(check_settings(VQModel, config, VQ))


def _check_relations(settings: Mapping[str, Any]) -> None:
    check_lengths(settings, ("down_block_types", "up_block_types"))
    check_divisible(settings, "norm_num_groups", settings["block_out_channels"])
