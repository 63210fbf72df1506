"""Rounding of weights to the precision they are stored in."""

from collections.abc import Collection, Mapping

import torch
from torch import nn

from trt_pipeline.errors import CheckpointError

LARGEST_HALF = 65504.0
"""float16's largest number."""
FACTORS = ("output_scale_factor", "rescale_output_factor")
"""Numbers by which diffusers' blocks divide what they give; a float16 graph holds them rounded."""


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises; such modules keep float32 weights and arithmetic."""
    return isinstance(module, nn.GroupNorm | nn.LayerNorm)


def round_weights(component: str, module: nn.Module) -> None:
    """Round to float16 what will be stored as float16, but leave the dtype float32.

    The numbers by which blocks divide count as weights.
    CheckpointError names a weight that float16 cannot hold.
    """
    too_large = _weight_beyond_half(module)
    if too_large:
        raise CheckpointError(
            f"{component}: {too_large} has numbers beyond float16's largest, "
            f"{LARGEST_HALF:.0f}. Export it with --precision fp32."
        )
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if is_norm(part):
                parameter.data = parameter.data.clone()  # a view would keep its file in memory
            else:
                parameter.data = parameter.data.half().float()
        _round_factors(component, part)


def _round_factors(component: str, part: nn.Module) -> None:
    """Round the numbers by which a block divides; CheckpointError if nothing is left of one."""
    for name in FACTORS:
        factor = getattr(part, name, 1.0)
        rounded = torch.tensor(factor, dtype=torch.float64).half().item()
        if not 0 < rounded <= LARGEST_HALF:
            raise CheckpointError(
                f"{component}: {name} of a {type(part).__name__} is {factor}, which is {rounded} "
                "in float16. Export it with --precision fp32."
            )
        if rounded != factor:
            setattr(part, name, rounded)


def round_graphs(
    module: nn.Module, graphs: Mapping[str, Collection[str]], kept: Mapping[str, str]
) -> dict[str, str]:
    """Round the parts of every graph but those that are kept as they are; the graphs that stay
    float32 → why: those that were kept, and those with a weight that float16 cannot hold.

    graphs: graph → names of its parts in the module.
    """
    wide = dict(kept)
    for graph, names in graphs.items():
        children = dict(module.named_children())
        parts = nn.ModuleDict({name: children[name] for name in names if name in children})
        too_large = _weight_beyond_half(parts)
        if too_large:
            wide[graph] = f"its {too_large} has numbers beyond float16's largest"
        elif graph not in wide:
            round_weights(graph, parts)
    return wide


def _weight_beyond_half(module: nn.Module) -> str | None:
    """The first weight that would be stored as float16, and cannot."""
    stored = (
        (f"{prefix}.{name}", parameter.data)
        for prefix, part in module.named_modules()
        if not is_norm(part)
        for name, parameter in part.named_parameters(recurse=False)
        if not parameter.is_meta  # it has no numbers where a graph does not need it
    )
    return next((name for name, weight in stored if not weight.half().isfinite().all()), None)


def store_half(module: nn.Module) -> None:
    """Turn weights and arithmetic into float16, except for normalisations."""
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if not is_norm(part) and parameter.dtype != torch.float16:
                parameter.data = parameter.data.half()
        if is_norm(part):
            part.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
            part.register_forward_hook(lambda _, _inputs, output: output.half())
