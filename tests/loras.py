"""Small LoRAs with seeded random numbers, in every spelling of their files."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

RANK, ALPHA = 4, 2.0
State: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Pair:
    """What is added to one layer, before any scale: ALPHA / RANK · up · down."""

    role: str
    layer: str
    """As diffusers names it, with CLIP's text_model."""
    down: Tensor
    up: Tensor

    def added(self, weight: Tensor, factor: float) -> Tensor:
        """A weight with factor · up · down added, layer by layer of a convolution's window."""
        down, up = self.down, self.up.flatten(1)
        if down.ndim == 2:
            return weight + factor * (up @ down)
        return weight + factor * torch.einsum("or,rihw->oihw", up, down)


def make_pairs(
    modules: Mapping[str, Any], chosen: Callable[[str], bool] = lambda _: True
) -> list[Pair]:
    """A pair for every chosen layer of the networks: role → network."""
    generator = torch.Generator().manual_seed(0)
    return [*_pairs(modules, chosen, generator)]


def _pairs(
    modules: Mapping[str, Any], chosen: Callable[[str], bool], generator: torch.Generator
) -> Iterator[Pair]:
    for role, module in modules.items():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and chosen(name):
                out, *inner = layer.weight.shape
                down = torch.randn(RANK, *inner, generator=generator) * 0.1
                up = torch.randn(out, RANK, *[1] * len(inner[1:]), generator=generator) * 0.1
                bare = name.removeprefix("text_model.")
                yield Pair(role, bare if role == "unet" else f"text_model.{bare}", down, up)


def attention(name: str) -> bool:
    """The layers that diffusers' own scripts train."""
    return re.search(r"(attn\d|self_attn)\.(to_|[qkv]_proj|out_proj)", name) is not None


def as_kohya(pairs: list[Pair], first: str = "lora_te") -> State:
    """first: what the names of a text encoder, or the first of two, begin with."""
    prefixes = {"unet": "lora_unet", "text_encoder": first, "text_encoder_2": "lora_te2"}
    state: State = {}
    for pair in pairs:
        name = f"{prefixes[pair.role]}_{pair.layer.replace('.', '_')}"
        state |= {f"{name}.lora_down.weight": pair.down, f"{name}.lora_up.weight": pair.up}
        state[f"{name}.alpha"] = torch.tensor(ALPHA)
    return state


def as_diffusers(pairs: list[Pair]) -> State:
    """As of 0.34, without metadata: alpha is the rank."""
    return {
        f"{pair.role}.{pair.layer}.{half}.weight": tensor
        for pair in pairs
        for half, tensor in (("lora_A", pair.down), ("lora_B", pair.up))
    }


def as_diffusers_before_peft(pairs: list[Pair]) -> State:
    """As of 0.20: to_q.lora.down, and lora_linear_layer in the text encoder."""
    ending = {"unet": "lora", "text_encoder": "lora_linear_layer"}
    return {
        f"{pair.role}.{pair.layer}.{ending[pair.role]}.{half}.weight": tensor
        for pair in pairs
        for half, tensor in (("down", pair.down), ("up", pair.up))
    }


def as_first_diffusers(pairs: list[Pair]) -> State:
    """As of 0.17, of attention layers only: processors with to_q_lora.down."""
    state: State = {}
    for pair in pairs:
        module, _, layer = pair.layer.removesuffix(".0").rpartition(".")
        layer = layer if pair.role == "unet" else f"to_{layer.removesuffix('_proj')}"
        processor = ".processor" if pair.role == "unet" else ""
        name = f"{pair.role}.{module}{processor}.{layer}_lora"
        state |= {f"{name}.down.weight": pair.down, f"{name}.up.weight": pair.up}
    return state
