"""The weights of a CompVis checkpoint under the names of diffusers' networks."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trt_export.checkpoint.compvis_config import FirstStage, LatentDiffusion, Network, Text, UNet
from trt_export.families import Role, Section
from trt_pipeline.arguments import counted
from trt_pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

State: TypeAlias = "Mapping[str, Tensor]"
Rename: TypeAlias = Callable[[str], str]
Table: TypeAlias = Mapping[str, str]
"""Beginning of a name → what stands there in diffusers."""

AVERAGE = "model_ema."
TRAINING = re.compile(
    r"model_ema\..*|first_stage_model\.loss\..*|(alphas_cumprod|betas|cond_ids|logvar|lvlb_weights"
    r"|scale_factor|alphas_cumprod_prev|posterior_(variance|log_variance_clipped|mean_coef[12])"
    r"|(sqrt|sqrt_recip|sqrt_recipm1)_alphas_cumprod|(sqrt|log)_one_minus_alphas_cumprod)"
)
"""What LatentDiffusion keeps besides its networks: losses, moving averages, its schedule."""

UNET: Table = {
    "time_embed.0.": "time_embedding.linear_1.",
    "time_embed.2.": "time_embedding.linear_2.",
    "input_blocks.0.0.": "conv_in.",
    "middle_block.0.": "mid_block.resnets.0.",
    "middle_block.1.": "mid_block.attentions.0.",
    "middle_block.2.": "mid_block.resnets.1.",
    "out.0.": "conv_norm_out.",
    "out.2.": "conv_out.",
}
RESNET: Table = {
    "in_layers.0.": "norm1.",
    "in_layers.2.": "conv1.",
    "emb_layers.1.": "time_emb_proj.",
    "out_layers.0.": "norm2.",
    "out_layers.3.": "conv2.",
    "skip_connection.": "conv_shortcut.",
}
VAE: Table = {
    f"{half}.{old}": f"{half}.{new}"
    for half in ("encoder", "decoder")
    for old, new in {
        "norm_out.": "conv_norm_out.",
        "mid.block_1.": "mid_block.resnets.0.",
        "mid.block_2.": "mid_block.resnets.1.",
        "mid.attn_1.norm.": "mid_block.attentions.0.group_norm.",
        "mid.attn_1.q.": "mid_block.attentions.0.to_q.",
        "mid.attn_1.k.": "mid_block.attentions.0.to_k.",
        "mid.attn_1.v.": "mid_block.attentions.0.to_v.",
        "mid.attn_1.proj_out.": "mid_block.attentions.0.to_out.0.",
    }.items()
}
VAE_LEVEL: Table = {
    "block.": "resnets.",
    "downsample.": "downsamplers.0.",
    "upsample.": "upsamplers.0.",
}
BERT: Table = {
    "token_emb.": "model.embed_tokens.",
    "pos_emb.emb.": "model.embed_positions.",
    "norm.": "model.layer_norm.",
}
BERT_ATTENTION: Table = {
    "0.": "self_attn_layer_norm.",
    "1.to_q.": "self_attn.q_proj.",
    "1.to_k.": "self_attn.k_proj.",
    "1.to_v.": "self_attn.v_proj.",
    "1.to_out.": "self_attn.out_proj.",
}
BERT_FEED_FORWARD: Table = {"0.": "final_layer_norm.", "1.net.0.0.": "fc1.", "1.net.2.": "fc2."}
BERT_LAYERS = (BERT_ATTENTION, BERT_FEED_FORWARD)


def weights_of(path: Path, original: LatentDiffusion, role: Role, state: State) -> State:
    """A network's weights; one whose name CompVis' code does not have keeps it.

    CheckpointError for weights that belong to none of the networks.
    """
    sections = original.family.single_file.networks if original.family.single_file else {}
    _check_owners(path, sections, state)
    prefix = sections[role].prefix
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not TRAINING.fullmatch(name)
    }
    if role == "unet" and original.use_ema and any(name.startswith(AVERAGE) for name in state):
        weights = _averaged(path, weights, state)
    network = original.networks[role]
    return {
        name: _as_linear(name, tensor)
        for name, tensor in _renamed(weights, renamer(network)).items()
    }


def renamer(network: Network) -> Rename:
    """What gives a network's weights their names in diffusers."""
    match network:
        case UNet(num_res_blocks=layers):
            return lambda name: unet_name(name, layers)
        case FirstStage(ch_mult=levels):
            return lambda name: vae_name(name, len(levels))
        case Text():
            return bert_name


def _check_owners(path: Path, sections: Mapping[Role, Section], state: State) -> None:
    owners = tuple(section.prefix for section in sections.values())
    unknown = sorted(
        name for name in state if not name.startswith(owners) and not TRAINING.fullmatch(name)
    )
    if unknown:
        raise CheckpointError(
            f"{path} has {counted(len(unknown), 'weight')} (first: {unknown[0]}) outside of "
            f"{', '.join(f'{owner}*' for owner in owners)}. Give the YAML that describes this "
            "checkpoint with --config."
        )


def _averaged(path: Path, weights: State, state: State) -> "dict[str, Tensor]":
    """The UNet's moving averages; CompVis' LitEma writes their names without dots."""
    names = {name: f"{AVERAGE}diffusion_model{name.replace('.', '')}" for name in weights}
    missing = sorted(average for average in names.values() if average not in state)
    if missing:
        raise CheckpointError(
            f"{path}: {len(missing)} moving averages (first: {missing[0]}) are missing. "
            "Set use_ema to false in its YAML to export the weights themselves."
        )
    return {name: state[average] for name, average in names.items()}


def _renamed(weights: State, rename: Rename) -> "dict[str, Tensor]":
    """Weights under their new names; one whose new name is taken keeps its old, unknown one."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        new = rename(name)
        found[name if new in found else new] = tensor
    return found


def unet_name(name: str, layers: int) -> str:
    """A name of CompVis' UNetModel in UNet2DConditionModel, unchanged if there is none.

    layers: ResNet blocks on each level of the way down, before the downsampler.
    """
    block = re.fullmatch(r"(input|output)_blocks\.(\d+)\.([012])\.(.+)", name)
    if not block or name.startswith("input_blocks.0."):
        prefix = next((old for old in UNET if name.startswith(old)), "")
        return UNET.get(prefix, "") + _begun(name.removeprefix(prefix), RESNET)
    way, index, place, rest = block.groups()
    if way == "input":
        side, (level, layer) = "down", divmod(int(index) - 1, layers + 1)
    else:
        side, (level, layer) = "up", divmod(int(index), layers + 1)
    if rest.startswith(("op.", "conv.")):
        return f"{side}_blocks.{level}.{side}samplers.0.conv.{rest.partition('.')[2]}"
    kind = {"0": "resnets", "1": "attentions"}.get(place, "unknown")
    return f"{side}_blocks.{level}.{kind}.{layer}.{_begun(rest, RESNET)}"


def vae_name(name: str, levels: int) -> str:
    """A name of CompVis' AutoencoderKL in diffusers', which counts the decoder's levels upwards."""
    name = name.replace(".nin_shortcut.", ".conv_shortcut.")
    place = re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.(.+)", name)
    if not place:
        return _begun(name, VAE)
    half, side, index, rest = place.groups()
    level = int(index) if side == "down" else levels - 1 - int(index)
    return f"{half}.{side}_blocks.{level}.{_begun(rest, VAE_LEVEL)}"


def bert_name(name: str) -> str:
    """A name of CompVis' TransformerWrapper in LDMBertModel; its layers alternate in kind."""
    layer = re.fullmatch(r"attn_layers\.layers\.(\d+)\.(.+)", name)
    if not layer:
        return _begun(name, BERT)
    index, kind = divmod(int(layer[1]), 2)
    return f"model.layers.{index}.{_begun(layer[2], BERT_LAYERS[kind])}"


def _begun(name: str, table: Table) -> str:
    """A name with another beginning, if the table has one for it."""
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _as_linear(name: str, tensor: "Tensor") -> "Tensor":
    """diffusers computes the VAE's attention with matrices where CompVis has 1 × 1 convolutions."""
    is_matrix = re.search(r"mid_block\.attentions\.0\.to_.*weight", name)
    return tensor.flatten(1) if is_matrix else tensor
