"""Which settings of diffusers' two UNets can be exported, and to which values."""

from collections.abc import Mapping
from typing import Any

from diffusers import UNet2DConditionModel, UNet2DModel

from trt_export.networks.settings import (
    CHANNELS,
    FLAG,
    HARMLESS,
    LEVELS,
    POSITIVE,
    PROBABILITY,
    Rules,
    check_divisible,
    check_lengths,
    check_settings,
    list_of,
    names,
    number,
    odd,
    only,
    optional,
    or_list,
    per_level,
    whole,
)

ACTIVATION = only("silu", "swish", "mish", "gelu", "relu")
LAYERS = whole(1, 64)
MIN_SIZE = 4
"""Smallest height and width of latents."""
TRANSFORMERS = or_list(whole(0, 64))
"""Of a level: one number for all of its ResNet blocks, or one for each."""

COMMON: Rules = {
    "sample_size": whole(MIN_SIZE, 1024),
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "center_input_sample": only(False),
    "time_embedding_type": only("positional"),
    "time_embedding_dim": optional(CHANNELS),
    "freq_shift": number(0, 1),
    "flip_sin_to_cos": FLAG,
    "block_out_channels": LEVELS,
    "mid_block_scale_factor": POSITIVE,
    "downsample_padding": only(1, 0),
    "dropout": PROBABILITY,
    "act_fn": ACTIVATION,
    "norm_num_groups": CHANNELS,
    "norm_eps": POSITIVE,
    "resnet_time_scale_shift": only("default", "scale_shift"),
    "class_embed_type": only(None),
    "num_class_embeds": only(None),
}
"""What both have."""

CONDITIONAL: Rules = {
    **COMMON,
    "down_block_types": names(
        "DownBlock2D", "CrossAttnDownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"
    ),
    "mid_block_type": only("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None),
    "up_block_types": names(
        "UpBlock2D", "CrossAttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"
    ),
    "only_cross_attention": per_level(FLAG),
    "layers_per_block": per_level(LAYERS),
    "cross_attention_dim": per_level(CHANNELS),
    "transformer_layers_per_block": per_level(TRANSFORMERS),
    "reverse_transformer_layers_per_block": optional(list_of(TRANSFORMERS)),
    "encoder_hid_dim": only(None),
    "encoder_hid_dim_type": only(None),
    "attention_head_dim": per_level(CHANNELS),
    "num_attention_heads": only(None),
    "dual_cross_attention": only(False),
    "use_linear_projection": FLAG,
    "addition_embed_type": only(None, "text_time"),
    "addition_time_embed_dim": optional(CHANNELS),
    "upcast_attention": optional(FLAG),
    "resnet_skip_time_act": FLAG,
    "resnet_out_scale_factor": POSITIVE,
    "time_embedding_act_fn": optional(ACTIVATION),
    "timestep_post_act": optional(ACTIVATION),
    "time_cond_proj_dim": optional(whole(4, 2**16)),
    "conv_in_kernel": odd(15),
    "conv_out_kernel": odd(15),
    "projection_class_embeddings_input_dim": optional(CHANNELS),
    "attention_type": only("default"),
    "class_embeddings_concat": only(False),
    "mid_block_only_cross_attention": optional(FLAG),
    "cross_attention_norm": only(None),
    "addition_embed_type_num_heads": HARMLESS,
}
"""UNet2DConditionModel's. The harmless ones belong to embeddings that None leaves out."""

UNCONDITIONAL: Rules = {
    **COMMON,
    "down_block_types": names("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "mid_block_type": only("UNetMidBlock2D", None),
    "up_block_types": names("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "layers_per_block": LAYERS,
    "downsample_type": only("conv", "resnet"),
    "upsample_type": only("conv", "resnet"),
    "attention_head_dim": optional(CHANNELS),
    "attn_norm_num_groups": optional(CHANNELS),
    "add_attention": FLAG,
    "num_train_timesteps": HARMLESS,
}
"""UNet2DModel's. num_train_timesteps is read for a learned time embedding only."""

LISTED = (
    "down_block_types",
    "up_block_types",
    "only_cross_attention",
    "layers_per_block",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "reverse_transformer_layers_per_block",
    "attention_head_dim",
)
"""Settings that may be lists with a value for each level."""


def check_conditional(config: Mapping[str, Any]) -> None:
    """ValueError names a setting of a UNet2DConditionModel that cannot be exported."""
    settings = _checked(UNet2DConditionModel, config, CONDITIONAL)
    for level, channels in enumerate(settings["block_out_channels"]):
        heads = _at(settings["attention_head_dim"], level)
        if _attends(settings, level, "CrossAttn") and heads > channels:
            raise ValueError(
                f"attention_head_dim is {settings['attention_head_dim']}: diffusers takes it for "
                f"the number of heads, and a level has {channels} channels only"
            )
    _check_transformers(settings)
    _check_addition(settings)


def check_unconditional(config: Mapping[str, Any]) -> None:
    """ValueError names a setting of a UNet2DModel that cannot be exported."""
    settings = _checked(UNet2DModel, config, UNCONDITIONAL)
    if settings["attn_norm_num_groups"] is not None:
        check_divisible(settings, "attn_norm_num_groups", settings["block_out_channels"][-1:])
    width = settings["attention_head_dim"] or 1
    for level, channels in enumerate(settings["block_out_channels"]):
        if _attends(settings, level, "Attn") and width > channels:
            raise ValueError(
                f"attention_head_dim is {width}, but a level with attention has {channels} "
                "channels only"
            )


def _checked(kind: type, config: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    settings = check_settings(kind, _plain_names(config), rules)
    check_lengths(settings, [name for name in LISTED if name in settings])
    check_divisible(settings, "norm_num_groups", settings["block_out_channels"])
    return settings


def _plain_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Names of blocks without the prefix that diffusers takes off them."""
    plain = dict(config)
    for name in ("down_block_types", "up_block_types"):
        if isinstance(config.get(name), list | tuple):
            plain[name] = [str(one).removeprefix("UNetRes") for one in config[name]]
    return plain


def _attends(settings: Mapping[str, Any], level: int, kind: str) -> bool:
    """Whether a level has attention of a kind; the last one has the middle's as well."""
    last = len(settings["block_out_channels"]) - 1
    blocks = [settings["down_block_types"][level], settings["up_block_types"][last - level]]
    middle = settings["mid_block_type"] or ""
    if level == last and (kind in middle or (settings.get("add_attention", False) and middle)):
        return True
    return any(kind in block for block in blocks)


def _check_addition(settings: Mapping[str, Any]) -> None:
    """ValueError for a text and sizes that join the time embedding, but have no width."""
    for name in ("addition_time_embed_dim", "projection_class_embeddings_input_dim"):
        if settings["addition_embed_type"] is not None and settings[name] is None:
            raise ValueError(
                f"{name} is None, but addition_embed_type is text_time, which needs it"
            )


def _check_transformers(settings: Mapping[str, Any]) -> None:
    """ValueError for a list of a level's transformers that its ResNet blocks do not fit."""
    down = settings["transformer_layers_per_block"]
    up = settings["reverse_transformer_layers_per_block"]
    levels = range(len(settings["block_out_channels"]))
    nested = [level for level in levels if isinstance(_at(down, level), list | tuple)]
    if nested and up is None:
        raise ValueError(
            "transformer_layers_per_block has lists within its list; diffusers then expects "
            "reverse_transformer_layers_per_block as well"
        )
    for level in levels:
        layers = _at(settings["layers_per_block"], level)
        _check_count("transformer_layers_per_block", _at(down, level), layers)
        at = len(levels) - 1 - level
        _check_count("reverse_transformer_layers_per_block", _at(up, at), layers + 1)


def _check_count(name: str, value: Any, layers: int) -> None:
    if isinstance(value, list | tuple) and len(value) != layers:
        raise ValueError(
            f"{name} has {len(value)} values for a level with {layers} ResNet blocks, expected one "
            "for each"
        )


def _at(value: Any, level: int) -> Any:
    """A setting's value at a level."""
    return value[level] if isinstance(value, list | tuple) else value
