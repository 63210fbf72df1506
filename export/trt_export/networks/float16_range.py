"""How large the numbers of each graph become, and whether float16 can hold them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from trt_export.networks.weights.loading import Networks
from trt_export.networks.weights.of_graphs import layers_of, unet_graphs
from trt_export.networks.weights.precision import LARGEST_HALF, is_norm
from trt_pipeline.bundle.manifest import FIRST_STAGE
from trt_pipeline.errors import CheckpointError

MARGIN = 4
"""How many times larger the numbers of pictures that were not tried may be."""
PRODUCTS = (torch.bmm, torch.baddbmm, torch.matmul, Tensor.matmul)

Largest = dict[str, float]
"""Graph → the largest magnitude of its numbers; infinite where one was not a number."""


@contextmanager
def watched(networks: Networks) -> Iterator[Largest]:
    """Note the largest magnitudes of what networks as loaded compute.

    Seen are what every layer reads and gives, thus the sums between layers as well, and the logits
    of attention, which are no layer's.
    """
    largest: Largest = {}
    products = _Products(largest)
    handles = [
        layer.register_forward_hook(_noting(largest, products, graph, owner))
        for graph, owner, layer in _layers(networks)
    ]
    try:
        with products:
            yield largest
    finally:
        for handle in handles:
            handle.remove()


def beyond_half(largest: Mapping[str, float], path: Path) -> dict[str, str]:
    """The graphs of the VAE that must stay float32 → why.

    CheckpointError for another graph beyond float16: context_kv and time_embeds, which flow between
    those, have one type.
    """
    wide = {}
    for graph, magnitude in largest.items():
        if graph in FIRST_STAGE and magnitude > LARGEST_HALF / MARGIN:
            wide[graph] = (
                f"its numbers reach {magnitude:.3g}, and float16 ends at {LARGEST_HALF:.0f}"
            )
        elif magnitude > LARGEST_HALF:
            raise CheckpointError(
                f"{path}: the numbers of the {graph} reach {magnitude:.3g}, beyond float16's "
                f"largest, {LARGEST_HALF:.0f}. Export it with --precision fp32."
            )
    return wide


def check_finite(largest: Mapping[str, float], path: Path) -> None:
    """CheckpointError for a graph that float32 cannot compute either."""
    for graph, magnitude in largest.items():
        if magnitude == float("inf"):
            raise CheckpointError(
                f"{path}: the {graph} gives NaN or infinite numbers in float32 already, so that "
                "nothing can be compared. Its weights or its configuration are damaged."
            )


class _Products(TorchFunctionMode):
    """Notes the results of matrix products that are not layers, for the graph that runs."""

    def __init__(self, largest: Largest) -> None:
        super().__init__()
        self.graph = ""
        self._largest = largest

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is scaled_dot_product_attention:
            query, key = args[:2]
            scale = (kwargs or {}).get("scale") or query.shape[-1] ** -0.5
            _note(self._largest, self.graph, query @ key.transpose(-1, -2) * scale)
        elif func in PRODUCTS:
            _note(self._largest, self.graph, result)
        return result


def _noting(
    largest: Largest, products: _Products, graph: str, owner: str
) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        products.graph = owner
        # Between its layers, the text encoder's graph is float32: networks/ldm_bert.py.
        is_wide = graph == "text_encoder" and is_norm(layer)
        for tensor in (output,) if is_wide else (*inputs, output):
            _note(largest, graph, tensor)

    return note


def _note(largest: Largest, graph: str, tensor: Any) -> None:
    if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
        magnitude = float(tensor.detach().abs().max())
        finite = magnitude if magnitude < float("inf") else float("inf")  # NaN is not
        largest[graph] = max(largest.get(graph, 0.0), finite)


def _layers(networks: Networks) -> Iterator[tuple[str, str, nn.Module]]:
    """Each layer's graph, the graph of the matrix products after it, and the layer."""
    for encoder in filter(None, (networks.text_encoder, networks.text_encoder_2)):
        for _, layer in layers_of(encoder.module):
            yield "text_encoder", "text_encoder", layer
    graphs = unet_graphs(networks.unet.module)
    for name, layer in layers_of(networks.unet.module):
        yield graphs[name], "denoiser", layer
    for graph, part in networks.added.items():
        for _, layer in layers_of(part.module):
            yield graph, graph, layer
    for graph, names in networks.vae.graphs.items():
        for name, layer in layers_of(networks.vae.module):
            if name.split(".")[0] in names:
                yield graph, graph, layer
