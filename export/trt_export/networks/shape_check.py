"""Networks run without numbers, on the meta device: what cannot run is found before an export."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trt_export.checkpoint.folder import Checkpoint
from trt_export.families import Role
from trt_export.networks.graphs import checked_sizes, modules, signatures
from trt_export.networks.reference.answers import (
    added_answers,
    text_answers,
    unet_answers,
    vae_answers,
)
from trt_export.networks.signatures import graph_outputs
from trt_export.networks.weights.loading import Networks
from trt_pipeline.bundle.manifest import TensorSpec
from trt_pipeline.errors import CheckpointError

PARTS: Mapping[str, Role] = {
    "text_encoder": "text_encoder",
    "decoder": "vae",
    "tiny_decoder": "tiny_decoder",
    "encoder": "vae",
    "safety_checker": "safety_checker",
}
"""Graph → the part that it is made of, which is the UNet for all others."""

Tensors: TypeAlias = Mapping[str, Tensor]


@torch.inference_mode()
def check_shapes(checkpoint: Checkpoint, networks: Networks) -> None:
    """Run diffusers' networks and the graphs' modules; CheckpointError if one of them cannot run,
    or if they disagree on a shape. Takes the networks, which must be empty, apart."""
    specs = signatures(networks, checkpoint.family, "fp32")
    with torch.device("meta"):
        inputs = {
            name: {spec.name: _empty(spec, checked_sizes(networks, name)) for spec in given}
            for name, given in specs.items()
        }
        _check(checkpoint, networks, inputs)


def _empty(spec: TensorSpec, sizes: Mapping[str, int]) -> Tensor:
    shape = [dim if isinstance(dim, int) else sizes[dim] for dim in spec.shape]
    return torch.empty(shape, dtype=getattr(torch, spec.dtype))


def _check(checkpoint: Checkpoint, networks: Networks, inputs: Mapping[str, Tensors]) -> None:
    family, configs = checkpoint.family, checkpoint.configs
    text: Tensors = {}
    if "text_encoder" in family.parts:
        with _refused(f"{configs['text_encoder']}: diffusers cannot run it"):
            text = text_answers(networks, inputs)
    with _refused(f"{configs['unet']}: diffusers cannot run it"):
        expected = unet_answers(networks, inputs, text)
    with _refused(f"{configs['vae']}: diffusers cannot run it"):
        expected |= vae_answers(networks, inputs)
    for graph in networks.added:
        with _refused(f"{configs[PARTS[graph]]}: diffusers cannot run it"):
            expected |= added_answers(networks, {graph: inputs[graph]})
    graphs = modules(networks, family)
    for name in family.graphs:
        where = f"{configs[PARTS.get(name, 'unet')]}: {name} cannot be exported"
        with _refused(where):
            outputs = next(graphs)[1](**inputs[name])
        _compare(where, graph_outputs(name, inputs[name]), outputs, expected[name])


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """A network may end in an error of any kind."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{where} ({reason}).") from error


def _compare(where: str, names: Sequence[str], outputs: Any, expected: Tensors) -> None:
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    for output, tensor in zip(names, found, strict=True):
        if tensor.shape != expected[output].shape:
            raise CheckpointError(
                f"{where} ({output} is {tuple(tensor.shape)}, but diffusers has "
                f"{tuple(expected[output].shape)})."
            )
