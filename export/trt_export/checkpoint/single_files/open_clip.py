"""Weights of an OpenCLIP text encoder under the names of transformers' CLIPTextModel."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

State: TypeAlias = "Mapping[str, Tensor]"

NAMES = {
    "token_embedding.": "embeddings.token_embedding.",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.": "final_layer_norm.",
}
"""Beginning of a name → what stands there in transformers."""
LAYER = {
    "ln_1.": "layer_norm1.",
    "ln_2.": "layer_norm2.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
    "attn.out_proj.": "self_attn.out_proj.",
}
"""The same in a layer."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def open_clip_weights(state: State, layers: int) -> "dict[str, Tensor]":
    """The same weights; a name that OpenCLIP does not have stays.

    layers: how many are read; a last one behind them is left out.
    """
    unread = f"transformer.resblocks.{layers}."
    return {
        new: tensor
        for name, weight in state.items()
        if not name.startswith(unread)
        for new, tensor in _renamed(name, weight)
    }


def _renamed(name: str, weight: "Tensor") -> "Iterator[tuple[str, Tensor]]":
    """One weight, or the three that OpenCLIP keeps in one."""
    layer = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)
    if name == "text_projection":
        yield "text_projection.weight", weight.T  # transformers has a Linear
    elif not layer:
        yield _begun(name, NAMES), weight
    elif kind := re.fullmatch(r"attn\.in_proj_(weight|bias)", layer[2]):
        parts = weight.chunk(len(PROJECTIONS))
        for projection, part in zip(PROJECTIONS, parts, strict=False):
            yield f"encoder.layers.{layer[1]}.self_attn.{projection}.{kind[1]}", part
    else:
        yield f"encoder.layers.{layer[1]}.{_begun(layer[2], LAYER)}", weight


def _begun(name: str, table: Mapping[str, str]) -> str:
    old = next((one for one in table if name.startswith(one)), "")
    return table.get(old, "") + name.removeprefix(old)
