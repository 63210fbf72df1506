"""Every name under which files of LoRAs know the layers of a network."""

import re
from collections.abc import Iterable, Iterator, Mapping

from trt_export.families import Role

UNET_ATTENTION = {"to_out.0": "to_out"}
TEXT_ATTENTION = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
"""A layer of an attention → its name in diffusers' older files."""
TEXT_MODEL = "text_model."
"""Begins the names of CLIP's layers in files, and in transformers before 5.6."""
SGM = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
SGM_MIDDLE = {
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
SGM_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""diffusers' name → that of Stability's code, which kohya's scripts train Stable Diffusion XL
with."""
BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)")
SAMPLER = re.compile(r"(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.conv")


def names_of(role: Role, layers: Iterable[str], layers_per_block: int | None) -> Mapping[str, str]:
    """Any name → the layer, as its module has it.

    layers_per_block: the UNet's; None if it varies, so that no other code counts its blocks.
    """
    layers = list(layers)
    found: dict[str, str] = {}
    for layer in layers:
        dotted = [*_dotted(role, layer)]
        if role == "unet" and layers_per_block:
            dotted += [*_sgm(layer, layers_per_block, layers)]
        for name in dotted:
            found |= {name: layer, name.replace(".", "_"): layer}
    return found


def _dotted(role: Role, layer: str) -> Iterator[str]:
    """A layer's names in diffusers and transformers of all ages."""
    attention = UNET_ATTENTION if role == "unet" else TEXT_ATTENTION
    names = [layer]
    names += [
        f"{layer.removesuffix(new)}{old}"
        for new, old in attention.items()
        if layer.endswith(f".{new}")
    ]
    yield from names
    if role != "unet":
        bare = [name.removeprefix(TEXT_MODEL) for name in names]
        yield from (*bare, *(f"{TEXT_MODEL}{name}" for name in bare))


def _sgm(layer: str, count: int, layers: list[str]) -> Iterator[str]:
    """A layer's name in Stability's code, which numbers the blocks of all levels in one row."""
    if layer in SGM:
        yield SGM[layer]
    for ours, theirs in SGM_MIDDLE.items():
        if layer.startswith(ours):
            yield theirs + _inside(layer.removeprefix(ours))
    if block := BLOCK.fullmatch(layer):
        way, level, kind, number, rest = block.groups()
        place = 0 if kind == "resnets" else 1
        yield f"{_row(way, int(level), int(number), count)}.{place}.{_inside(rest)}"
    if sampler := SAMPLER.fullmatch(layer):
        way, level = sampler[1], int(sampler[2])
        if way == "down":
            yield f"{_row(way, level, count, count)}.0.op"
        else:
            attends = any(one.startswith(f"up_blocks.{level}.attentions.") for one in layers)
            yield f"{_row(way, level, count, count)}.{2 if attends else 1}.conv"


def _row(way: str, level: int, number: int, count: int) -> str:
    """The upward path has one ResNet block a level more, the downward path a downsampler."""
    place = level * (count + 1) + number
    return f"input_blocks.{1 + place}" if way == "down" else f"output_blocks.{place}"


def _inside(rest: str) -> str:
    return SGM_RESNET.get(rest, rest)
