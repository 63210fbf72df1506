"""Names of weights in CompVis' and Stability's code → in diffusers' networks."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Rename: TypeAlias = Callable[[str], str]
Table: TypeAlias = Mapping[str, str]
"""Beginning of a name → what stands there in diffusers."""

UNET: Table = {
    "time_embed.0.": "time_embedding.linear_1.",
    "time_embed.2.": "time_embedding.linear_2.",
    "input_blocks.0.0.": "conv_in.",
    "middle_block.0.": "mid_block.resnets.0.",
    "middle_block.1.": "mid_block.attentions.0.",
    "middle_block.2.": "mid_block.resnets.1.",
    "label_emb.0.0.": "add_embedding.linear_1.",
    "label_emb.0.2.": "add_embedding.linear_2.",
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


def renamer(kind: str, config: Mapping[str, Any]) -> Rename:
    """What gives a network's weights their names in diffusers.

    kind: diffusers' class of the network. ValueError for a configuration whose names are unknown.
    """
    match kind:
        case "UNet2DConditionModel":
            layers = config.get("layers_per_block", 2)
            if not isinstance(layers, int):
                raise ValueError(f"layers_per_block is {layers!r:.80}, expected one number")
            return lambda name: unet_name(name, layers)
        case "AutoencoderKL":
            levels = len(config["block_out_channels"])
            return lambda name: vae_name(name, levels)
        case "LDMBertModel":
            return bert_name
        case _:
            return lambda name: name


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
