"""Networks of CompVis' and Stability's YAMLs, as diffusers' configurations.

Names and defaults are those of the classes in github.com/CompVis/latent-diffusion and
github.com/Stability-AI/generative-models. What cannot be exported is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from trt_export.checkpoint.single_files.yaml_files import entry_of, mapping_of, params_of
from trt_pipeline.bundle.decoding import decode


@dataclass(frozen=True, slots=True)
class UNet:
    """UNetModel."""

    in_channels: int
    out_channels: int
    model_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    """How many times smaller than the latents a level is that has attention."""
    context_dim: int
    image_size: int | None = None
    """Height and width of the latents."""
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_heads: int = -1
    num_head_channels: int = -1
    """Takes precedence over num_heads unless it is -1."""
    transformer_depth: Any = 1
    """Of all levels, or a list with that of each."""
    use_linear_in_transformer: bool = False
    use_spatial_transformer: bool = False
    conv_resample: bool = True
    resblock_updown: bool = False
    use_scale_shift_norm: bool = False
    dims: int = 2
    num_classes: int | str | None = None
    """sequential: pooled text and sizes join the time."""
    adm_in_channels: int | None = None
    """How many numbers join it."""
    n_embed: int | None = None

    def __post_init__(self) -> None:
        """ValueError for what diffusers' network cannot do."""
        require(self, use_spatial_transformer=True, conv_resample=True, resblock_updown=False)
        require(self, use_scale_shift_norm=False, dims=2, n_embed=None)
        require(self, num_classes=None if self.adm_in_channels is None else "sequential")
        if self.num_heads < 1 and self.num_head_channels < 1:
            raise ValueError("num_heads or num_head_channels must be 1 or more")

    def as_diffusers(self) -> dict[str, Any]:
        """The configuration of the same UNet2DConditionModel."""
        channels = [self.model_channels * factor for factor in self.channel_mult]
        kinds = [
            "CrossAttn{}Block2D" if 2**level in self.attention_resolutions else "{}Block2D"
            for level in range(len(channels))
        ]
        per_head = self.num_head_channels
        optional = {
            "sample_size": self.image_size,
            "projection_class_embeddings_input_dim": self.adm_in_channels,
        }
        return {
            **{name: value for name, value in optional.items() if value is not None},
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": channels,
            "down_block_types": [kind.format("Down") for kind in kinds],
            "up_block_types": [kind.format("Up") for kind in reversed(kinds)],
            "layers_per_block": self.num_res_blocks,
            "transformer_layers_per_block": self.transformer_depth,
            "cross_attention_dim": self.context_dim,
            "use_linear_projection": self.use_linear_in_transformer,
            # diffusers' name for the number of heads
            "attention_head_dim": (
                self.num_heads if per_head < 1 else [one // per_head for one in channels]
            ),
        }


@dataclass(frozen=True, slots=True)
class FirstStage:
    """AutoencoderKL's embed_dim and ddconfig."""

    embed_dim: int
    z_channels: int
    resolution: int
    in_channels: int
    out_ch: int
    ch: int
    num_res_blocks: int
    attn_resolutions: tuple[int, ...]
    ch_mult: tuple[int, ...] = (1, 2, 4, 8)
    double_z: bool = True
    resamp_with_conv: bool = True
    use_linear_attn: bool = False
    attn_type: str = "vanilla"
    tanh_out: bool = False
    give_pre_end: bool = False

    def __post_init__(self) -> None:
        """ValueError for what diffusers' network cannot do."""
        require(self, embed_dim=self.z_channels, attn_resolutions=(), double_z=True)
        require(self, resamp_with_conv=True, use_linear_attn=False)
        if self.attn_type != "vanilla-xformers":  # the same numbers
            require(self, attn_type="vanilla")
        require(self, tanh_out=False, give_pre_end=False)

    def as_diffusers(self) -> dict[str, Any]:
        """The configuration of the same AutoencoderKL, less the scaling factor."""
        levels = len(self.ch_mult)
        return {
            "sample_size": self.resolution,
            "in_channels": self.in_channels,
            "out_channels": self.out_ch,
            "latent_channels": self.z_channels,
            "block_out_channels": [self.ch * factor for factor in self.ch_mult],
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "layers_per_block": self.num_res_blocks,
        }


@dataclass(frozen=True, slots=True)
class Text:
    """BERTEmbedder."""

    n_embed: int
    n_layer: int
    vocab_size: int = 30522
    max_seq_len: int = 77

    def as_diffusers(self) -> dict[str, Any]:
        """The configuration of the same LDMBertModel; CompVis' heads are 8 of width 64."""
        return {
            "d_model": self.n_embed,
            "encoder_layers": self.n_layer,
            "encoder_ffn_dim": 4 * self.n_embed,
            "encoder_attention_heads": 8,
            "head_dim": 64,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_seq_len,
        }


Network: TypeAlias = UNet | FirstStage | Text
CLASSES: Mapping[str, type[Network]] = {
    "UNetModel": UNet,
    "AutoencoderKL": FirstStage,
    "BERTEmbedder": Text,
}
"""Name of a class in a YAML → what can be exported of it."""
IGNORED: Mapping[type[Network], set[str]] = {
    UNet: {
        "dropout",
        "legacy",
        "num_heads_upsample",
        "spatial_transformer_attn_type",
        "use_checkpoint",
        "use_fp16",
        "use_new_attention_order",
    },
    FirstStage: {"dropout", "lossconfig", "monitor", "colorize_nlabels", "image_key"}
    | {"ckpt_path", "ignore_keys"},
    Text: {"device", "embedding_dropout", "use_tokenizer"},
}
"""Settings of training, and those that a spatial transformer ignores."""
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}
"""LatentDiffusion's parameterization → diffusers' prediction_type."""


def network_of(params: Mapping[str, Any], section: str, target: str, where: str) -> Network:
    """What a section says of a network; ValueError for what cannot be exported."""
    kind, place = CLASSES[target], f"{section}.params"
    entries = dict(params_of(entry_of(params, section, where), (target,), place))
    if "ddconfig" in entries:
        entries |= mapping_of(entries.pop("ddconfig"), f"{place}.ddconfig")
    matters = {name: value for name, value in entries.items() if name not in IGNORED[kind]}
    return decode(kind, matters, place)


def require(spec: object, **supported: object) -> None:
    """ValueError unless settings have the only values that are exported."""
    for name, value in supported.items():
        if getattr(spec, name) != value:
            raise ValueError(f"{name} is {getattr(spec, name)!r}; only {value!r} can be exported")
