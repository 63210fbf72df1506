"""Layers of diffusers' networks in forms that can be traced with free sizes."""

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate


class Upsample(nn.Module):
    """Upsample2D without its workarounds for large tensors, whose conditions on the batch size
    would be traced as limits of the graph. Takes the size that it is given."""

    def __init__(self, upsampler: Any) -> None:
        """Takes an upsampling ResNet block apart: doubling a picture by copying pixels leaves what
        its first normalisation makes of each as it is, so that it may as well come first."""
        super().__init__()
        self.in_time = isinstance(upsampler, ResnetBlock2D)
        self.layer = upsampler if self.in_time else upsampler.conv
        if self.in_time:
            upsampler.upsample = None

    def forward(
        self,
        hidden_states: Tensor,
        output_size: torch.Size | None = None,
        time_embeds: Tensor | None = None,
    ) -> Tensor:
        scale = 2.0 if output_size is None else None
        resized = interpolate(hidden_states, size=output_size, scale_factor=scale, mode="nearest")
        return self.layer(resized, time_embeds) if self.in_time else self.layer(resized)


def plain_upsamplers(block: Any) -> nn.ModuleList:
    """A block's upsamplers, which take the size that they are given; none for a block without."""
    return nn.ModuleList(map(Upsample, block.upsamplers or ()))


class Gated(nn.Module):
    """GEGLU, arXiv:2002.05202, as two linear layers: nothing has to be split afterwards."""

    def __init__(self, geglu: GEGLU) -> None:
        super().__init__()
        weight, bias = geglu.proj.weight.chunk(2), geglu.proj.bias.chunk(2)
        self.hidden, self.gate = (_linear(*half) for half in zip(weight, bias, strict=True))

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.hidden(hidden_states) * gelu(self.gate(hidden_states))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def use_gate_layers(unet: nn.Module) -> None:
    """Let every feed-forward network compute its gate apart."""
    for block in unet.modules():
        if isinstance(block, FeedForward) and isinstance(block.net[0], GEGLU):
            block.net[0] = Gated(block.net[0])
