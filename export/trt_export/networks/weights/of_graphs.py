"""Which weights a graph is made of: large models are traced a graph at a time."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from torch import nn

from trt_export.families import Role
from trt_export.networks.unets.unet import cross_attentions

TIME = ("time_proj", "time_embedding", "time_emb_proj", "add_time_proj", "add_embedding")
"""In the names of a UNet's layers that are in the graph time_embedding."""
ENDS = ("conv_in", "conv_norm_out", "conv_out")
"""Layers of a UNet that a cached step runs, besides its last block."""

Needs: TypeAlias = Callable[[Role, str], bool]
"""Whether a part's weight of this name is needed."""


def layers_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and layer, of all that have no layers in them."""
    found = module.named_modules()
    return ((name, one) for name, one in found if next(one.children(), None) is None)


def unet_graphs(unet: Any) -> dict[str, str]:
    """Name of a UNet's layer → the graph that it is in: text_encoder, time_embedding or
    denoiser."""
    context = [layer for a in cross_attentions(unet) for layer in (a.to_k, a.to_v)]
    found = {}
    for name, layer in layers_of(unet):
        of_time = any(part in TIME for part in name.split("."))
        is_context = any(layer is one for one in context)
        found[name] = "text_encoder" if is_context else "time_embedding" if of_time else "denoiser"
    return found


def needs_of(graph: str, unet: Any, vae: Any) -> Needs:
    """What a graph needs of each part. unet, vae: known parts, which may be empty."""
    graphs, last = unet_graphs(unet.module), f"up_blocks.{len(unet.module.up_blocks) - 1}."

    def of_unet(layer: str) -> bool:
        if graph == "cached_denoiser":
            return graphs[layer] == "denoiser" and (layer in ENDS or layer.startswith(last))
        return graphs[layer] == graph

    def needs(role: Role, name: str) -> bool:
        match role:
            case "unet":
                return of_unet(name.rpartition(".")[0])
            case "vae":
                return name.split(".")[0] in vae.graphs.get(graph, ())
            case "text_encoder_2":
                return graph == "text_encoder"
            case _:
                return graph == role

    return needs
