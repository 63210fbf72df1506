"""Rounding of weights to the precision they are stored in."""

import torch
from torch import nn

from trt_pipeline.errors import CheckpointError


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises; such modules keep float32 weights and arithmetic."""
    return isinstance(module, nn.GroupNorm | nn.LayerNorm)


def round_weights(component: str, module: nn.Module) -> None:
    """Round to float16 what will be stored as float16, but leave the dtype float32.

    CheckpointError names a weight that float16 cannot hold.
    """
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            if is_norm(part):
                parameter.data = parameter.data.clone()  # a view would keep its file in memory
                continue
            rounded = parameter.data.half()
            if not bool(rounded.isfinite().all()):
                raise CheckpointError(
                    f"{component}: {prefix}.{name} has numbers beyond float16's largest, 65504. "
                    "Export it with --precision fp32."
                )
            parameter.data = rounded.float()


def store_half(module: nn.Module) -> None:
    """Turn weights and arithmetic into float16, except for normalisations."""
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if not is_norm(part) and parameter.dtype != torch.float16:
                parameter.data = parameter.data.half()
        if is_norm(part):
            part.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
            part.register_forward_hook(lambda _, _inputs, output: output.half())
