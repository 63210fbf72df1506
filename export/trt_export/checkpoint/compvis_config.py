"""The YAML of a CompVis checkpoint, and the same architecture as diffusers' configurations.

Names and defaults are those of the classes in github.com/CompVis/latent-diffusion. What cannot be
exported is refused by name, and so is an entry that these classes lack.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from trt_export.checkpoint.text_files import read_text
from trt_export.families import Family, Role, Section, SingleFile, families
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.errors import CheckpointError

MAX_YAML_BYTES = 2**15
"""Largest YAML that is read; the published model's has 1336 bytes."""
MAX_YAML_DEPTH = 32
WHERE = "model.params"


@dataclass(frozen=True, slots=True)
class UNet:
    """UNetModel."""

    image_size: int
    """Height and width of the latents."""
    in_channels: int
    out_channels: int
    model_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    """How many times smaller than the latents a level is that has attention."""
    context_dim: int
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_heads: int = -1
    num_head_channels: int = -1
    """Takes precedence over num_heads unless it is -1."""
    transformer_depth: int = 1
    use_spatial_transformer: bool = False
    conv_resample: bool = True
    resblock_updown: bool = False
    use_scale_shift_norm: bool = False
    dims: int = 2
    num_classes: int | None = None
    n_embed: int | None = None

    def __post_init__(self) -> None:
        """ValueError for what diffusers' network cannot do."""
        _require(self, use_spatial_transformer=True, conv_resample=True, resblock_updown=False)
        _require(self, use_scale_shift_norm=False, dims=2, num_classes=None, n_embed=None)
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
        return {
            "sample_size": self.image_size,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": channels,
            "down_block_types": [kind.format("Down") for kind in kinds],
            "up_block_types": [kind.format("Up") for kind in reversed(kinds)],
            "layers_per_block": self.num_res_blocks,
            "transformer_layers_per_block": self.transformer_depth,
            "cross_attention_dim": self.context_dim,
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
        _require(self, embed_dim=self.z_channels, attn_resolutions=(), double_z=True)
        _require(self, resamp_with_conv=True, use_linear_attn=False, attn_type="vanilla")
        _require(self, tanh_out=False, give_pre_end=False)

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
        "use_checkpoint",
        "use_fp16",
        "use_new_attention_order",
    },
    FirstStage: {"dropout", "lossconfig", "monitor", "colorize_nlabels", "image_key"}
    | {"ckpt_path", "ignore_keys"},
    Text: {"device", "embedding_dropout", "use_tokenizer"},
}
"""Settings of training, and those that a spatial transformer ignores."""
TRAINING = {
    "ckpt_path",
    "cond_stage_key",
    "cond_stage_trainable",
    "first_stage_key",
    "ignore_keys",
    "image_size",
    "l_simple_weight",
    "learn_logvar",
    "load_only_unet",
    "log_every_t",
    "logvar_init",
    "loss_type",
    "monitor",
    "num_timesteps_cond",
    "original_elbo_weight",
    "scheduler_config",
    "use_positional_encodings",
}
"""Settings of LatentDiffusion that only training reads."""
UNREAD_BY_DDIM = {"channels", "clip_denoised", "concat_mode", "cosine_s", "v_posterior"}
"""Settings of LatentDiffusion for other samplers, other conditions and other schedules."""


@dataclass(frozen=True, slots=True)
class LatentDiffusion:
    """What of LatentDiffusion matters to sampling, and its networks."""

    family: Family
    networks: Mapping[Role, Network]
    linear_start: float = 1e-4
    linear_end: float = 2e-2
    timesteps: int = 1000
    beta_schedule: Literal["linear", "sqrt_linear"] = "linear"
    given_betas: Any = None
    parameterization: Literal["eps"] = "eps"
    scale_factor: float = 1.0
    cond_stage_forward: str | None = None
    """A method that makes another context than the text encoder's usual one."""
    scale_by_std: bool = False
    """Whether the scale factor is stored among the weights instead."""
    use_ema: bool = True
    """Whether to sample with the moving average of the UNet's weights."""

    def __post_init__(self) -> None:
        """ValueError for what cannot be exported."""
        _require(self, given_betas=None, scale_by_std=False, cond_stage_forward=None)

    def as_diffusers(self, role: Role) -> dict[str, Any]:
        """A part's configuration as diffusers would have it."""
        if role == "scheduler":
            return self._scheduler()
        if role not in self.networks:
            return {}
        scaling = {"scaling_factor": self.scale_factor} if role == "vae" else {}
        return {**self.networks[role].as_diffusers(), **scaling}

    def _scheduler(self) -> dict[str, Any]:
        """DDIMScheduler's configuration that samples as CompVis' own DDIMSampler does.

        DDIMSampler visits timesteps 1, 1 + s, 1 + 2s, …, s = timesteps // steps, and ends with the
        noise level of timestep 0. CompVis' "linear" betas are evenly spaced before squaring.
        """
        evenly = {"linear": "scaled_linear", "sqrt_linear": "linear"}
        return {
            "beta_start": self.linear_start,
            "beta_end": self.linear_end,
            "beta_schedule": evenly[self.beta_schedule],
            "num_train_timesteps": self.timesteps,
            "clip_sample": False,
            "steps_offset": 1,
            "set_alpha_to_one": False,
        }


class ShallowLoader(yaml.SafeLoader):
    """YAML of plain data without deep nesting, for which PyYAML recurses."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The node that comes next; YAMLError if it lies too deep."""
        if self.depth == MAX_YAML_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_YAML_DEPTH} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_config(path: Path) -> LatentDiffusion:
    """Read a YAML, as plain data; CheckpointError says what cannot be exported."""
    try:
        content = _plain_data(read_text(path, MAX_YAML_BYTES))
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is not YAML of plain data ({reason}).") from None
    try:
        return _latent_diffusion(content)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


def _plain_data(text: str) -> object:
    loader = ShallowLoader(text)
    root = loader.get_single_node()
    if root is None:
        return None
    for count, _ in enumerate(_repeated(root)):
        if count == MAX_YAML_BYTES:
            raise yaml.YAMLError("a few aliases stand for more than a whole file could say")
    return loader.construct_document(root)


def _repeated(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node as often as aliases repeat it."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting.extend(one for pair in node.value for one in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def _latent_diffusion(content: object) -> LatentDiffusion:
    params = _params(_entry(content, "model", "it"), ("LatentDiffusion",), "model")
    family = _family_of(params)
    sections = family.single_file.networks if family.single_file else {}
    elsewhere = {section.name for section in sections.values()} | {"conditioning_key"}
    harmless = TRAINING | UNREAD_BY_DDIM | elsewhere
    return decode(
        LatentDiffusion,
        {name: value for name, value in params.items() if name not in harmless},
        WHERE,
        family=family,
        networks={role: _network(params, section) for role, section in sections.items()},
    )


def _family_of(params: Mapping[str, Any]) -> Family:
    """The family of the networks' classes; ValueError if there is none."""
    known = [(family, family.single_file) for family in families().values() if family.single_file]
    for name in {section.name: 0 for _, file in known for section in file.networks.values()}:
        sections = [s for _, file in known for s in file.networks.values() if s.name == name]
        where = f"{WHERE}.{name}"
        _params(_entry(params, name, WHERE), [section.target for section in sections], where)
    key = _entry(params, "conditioning_key", WHERE)
    for family, file in known:
        if key == file.conditioning_key and _has_targets(params, file):
            return family
    keys = " or ".join(repr(file.conditioning_key) for _, file in known)
    raise ValueError(f"conditioning_key is {key!r:.80}; only {keys} can be exported")


def _has_targets(params: Mapping[str, Any], file: SingleFile) -> bool:
    return all(
        str(_entry(params[section.name], "target", section.name)).endswith(section.target)
        for section in file.networks.values()
    )


def _network(params: Mapping[str, Any], section: Section) -> Network:
    kind, where = CLASSES[section.target], f"{section.name}.params"
    entries = dict(_params(_entry(params, section.name, WHERE), (section.target,), where))
    if "ddconfig" in entries:
        entries |= _mapping(entries.pop("ddconfig"), f"{where}.ddconfig")
    matters = {name: value for name, value in entries.items() if name not in IGNORED[kind]}
    return decode(kind, matters, where)


def _params(section: object, targets: Sequence[str], where: str) -> Mapping[str, Any]:
    """The params of a section; ValueError if it is for another class."""
    name = _entry(section, "target", where)
    if not isinstance(name, str) or name.rpartition(".")[2] not in targets:
        raise ValueError(
            f"{where}.target is {name!r:.80}; only {' or '.join(targets)} can be exported"
        )
    return _mapping(_entry(section, "params", where), f"{where}.params")


def _entry(section: object, name: str, where: str) -> object:
    found = _mapping(section, where)
    if name not in found:
        raise ValueError(f"{where} has no {name}")
    return found[name]


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{where} is {value!r:.80}, expected names and values")
    return value


def _require(spec: object, **supported: object) -> None:
    """ValueError unless settings have the only values that are exported."""
    for name, value in supported.items():
        if getattr(spec, name) != value:
            raise ValueError(f"{name} is {getattr(spec, name)!r}; only {value!r} can be exported")
