"""LoRAs fused into a network's weights: W + scale · alpha / rank · up · down (arXiv:2106.09685)."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trt_export.checkpoint.adapters.files import LoraFile
from trt_export.checkpoint.adapters.layer_names import names_of
from trt_export.checkpoint.adapters.lora_keys import LoraLayer, lora_layers
from trt_export.checkpoint.adapters.lora_settings import read_settings
from trt_export.checkpoint.files.tensors import Shapes, read_shapes, read_some
from trt_export.families import Role
from trt_export.networks.weights.numbers import as_float32
from trt_pipeline.arguments import counted
from trt_pipeline.errors import CheckpointError

ADAPTED: tuple[Role, ...] = ("unet", "text_encoder", "text_encoder_2")
"""Parts that LoRAs are trained for."""
TEXT_WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""Width of the text that a UNet reads → what it is."""

Modules = Mapping[Role, nn.Module]


@dataclass(frozen=True, slots=True)
class Placed:
    """What a file has for one layer of a network."""

    role: Role
    layer: str
    """As its module has it."""
    given: LoraLayer


def check_loras(loras: Sequence[LoraFile], modules: Modules) -> None:
    """CheckpointError for what fits no layer of the networks, which may be empty; no matrix is
    read."""
    for lora in loras:
        shapes = read_shapes(lora.path)
        layers = lora_layers(lora.path, shapes)
        read_settings(lora.path, layers)
        _check_model(lora.path, layers, shapes, modules)
        placed = list(_placed(layers, modules))
        _check_places(lora.path, layers, placed, modules)
        for one in placed:
            _check_shapes(lora.path, one, shapes, modules)


@torch.no_grad()
def fuse_loras(loras: Sequence[LoraFile], role: Role, module: nn.Module) -> None:
    """Add the LoRAs, which check_loras took, to a part's weights."""
    if role in ADAPTED:
        for lora in loras:
            _fuse(lora, role, module)


def _fuse(lora: LoraFile, role: Role, module: nn.Module) -> None:
    layers = lora_layers(lora.path, read_shapes(lora.path))
    settings = read_settings(lora.path, layers)
    # A graph's own networks have the numbers that it needs, and no others.
    placed = [
        one for one in _placed(layers, {role: module}) if not _weight(module, one.layer).is_meta
    ]
    tensors = read_some(lora.path, [name for one in placed for name in one.given.names.values()])
    for one in placed:
        given = {
            matrix: as_float32(tensors[name], name, lora.path)
            for matrix, name in one.given.names.items()
        }
        alpha = float(given["alpha"]) if "alpha" in given else None
        factor = settings[one.given.role].factor(one.layer, given["down"].shape[0], alpha)
        added = product(given["down"], given["up"], given.get("mid"))
        weight = _weight(module, one.layer)
        # Not in place: the weight may be the file itself, mapped into memory.
        weight.data = weight + lora.scale * factor * added.reshape(weight.shape)


def _weight(module: nn.Module, layer: str) -> Tensor:
    return module.get_parameter(f"{layer}.weight")


def product(down: Tensor, up: Tensor, mid: Tensor | None) -> Tensor:
    """What a LoRA adds to a weight [out, in, …], before any factor.

    down: [rank, in, …]. up: [out, rank, …]. mid: of a convolution that is split once more, between
    the two: [rank, rank, height, width]; down and up are then 1 × 1.
    """
    if mid is None:
        return up.flatten(1) @ down.flatten(1)
    return torch.einsum("or,rshw,si->oihw", up.flatten(1), mid, down.flatten(1))


def _tables(modules: Modules) -> Iterator[tuple[Role, Mapping[str, str]]]:
    for role in ADAPTED:
        if role in modules:
            module = modules[role]
            layers = [
                name
                for name, one in module.named_modules()
                if isinstance(one, nn.Linear | nn.Conv2d)
            ]
            blocks = getattr(module.config, "layers_per_block", None)
            yield role, names_of(role, layers, blocks if isinstance(blocks, int) else None)


def _placed(layers: Sequence[LoraLayer], modules: Modules) -> Iterator[Placed]:
    for role, table in _tables(modules):
        for layer in layers:
            if layer.role in (None, role) and layer.name in table:
                yield Placed(role, table[layer.name], layer)


def _check_places(
    path: Path, layers: Sequence[LoraLayer], placed: Sequence[Placed], modules: Modules
) -> None:
    """Every layer of the file has one place, and no place two layers."""
    fitting = {one.given.spelled for one in placed}
    lost = [layer for layer in layers if layer.spelled not in fitting]
    if lost:
        parts = [lost[0].role] if lost[0].role in modules else [r for r in ADAPTED if r in modules]
        others = f", and {counted(len(lost) - 1, 'other')} neither" if len(lost) > 1 else ""
        raise CheckpointError(
            f"{path}: {lost[0].spelled:.120} fits no layer of the {' or '.join(map(str, parts))}"
            f"{others}. It is for another model, or another kind of adapter."
        )
    places: dict[tuple[Role, str], str] = {}
    owners: dict[str, Role] = {}
    for one in placed:
        other = places.setdefault((one.role, one.layer), one.given.spelled)
        if other != one.given.spelled:
            raise CheckpointError(
                f"{path} has one layer of the {one.role} twice: {other:.120} and "
                f"{one.given.spelled:.120}."
            )
        owner = owners.setdefault(one.given.spelled, one.role)
        if owner != one.role:
            raise CheckpointError(
                f"{path}: {one.given.spelled:.120} fits the {owner} and the {one.role}. Put the "
                "name of the part before the names of its tensors."
            )


def _check_model(path: Path, layers: Sequence[LoraLayer], shapes: Shapes, modules: Modules) -> None:
    """CheckpointError for the LoRA of a UNet that reads text of another width."""
    own = getattr(modules["unet"].config, "cross_attention_dim", None)
    for layer in layers:
        if re.search(r"attn2[._]to_k$", layer.name) and len(shapes[layer.names["down"]]) > 1:
            width = shapes[layer.names["down"]][1]
            if isinstance(own, int) and width != own:
                raise CheckpointError(
                    f"{path} is for a UNet that reads text of width {width}{_model(width)}, but "
                    f"this one reads {own}{_model(own)}. Take a LoRA of this model."
                )


def _model(width: int) -> str:
    return f" ({TEXT_WIDTHS[width]})" if width in TEXT_WIDTHS else ""


def _check_shapes(path: Path, placed: Placed, shapes: Shapes, modules: Modules) -> None:
    """CheckpointError unless a layer's matrices multiply to the shape of its weight."""
    weight = _weight(modules[placed.role], placed.layer).shape
    found = {matrix: shapes[name] for matrix, name in placed.given.names.items()}
    down, up, mid = found["down"], found["up"], found.get("mid")
    alike = len(down) > 1 and len(up) > 1 and down[0] == up[1] and up[0] == weight[0]
    alike = alike and all(size == 1 for size in up[2:])
    if mid is None:
        alike = alike and _inner(down) == _inner(weight)
    else:
        core = (up[1], down[0], *weight[2:]) if alike else ()
        alike = len(weight) == 4 and tuple(mid) == core and _inner(down) == _inner(weight[:2])
    if not alike:
        listed = " and ".join(f"{matrix} {tuple(s)}" for matrix, s in found.items() if s)
        raise CheckpointError(
            f"{path}: {placed.given.spelled:.120} has {listed}, which do not multiply to the "
            f"{tuple(weight)} of {placed.layer} in the {placed.role}. It is for another model."
        )
    if math.prod(found.get("alpha", ())) != 1:
        raise CheckpointError(f"{path}: {placed.given.names['alpha']} is not one number.")


def _inner(shape: Sequence[int]) -> list[int]:
    """Dimensions but the first, without those of a 1 × 1 convolution."""
    inner = list(shape[1:])
    return inner[:1] if all(size == 1 for size in inner[1:]) else inner
