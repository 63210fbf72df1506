"""The graphs that take a sampling step: the UNet, whole or cached, with guidance and the sampler.

The UNet reads what stays constant over the steps: the keys and values of its cross-attention from
context_kv, the time projections of its ResNet blocks from time_embeds.
docs/reference/bundle-format.md specifies every input and output.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trt_export.networks.layers import plain_upsamplers, use_gate_layers
from trt_export.networks.unets.unet import UNet, context_sizes, cross_attentions, resnet_blocks


class Denoiser(nn.Module):
    """One sampling step: UNet on M rows, guidance to B samples, the sampler's update in float32."""

    def __init__(self, unet: UNet, tokens: int, condition_factor: float = 1.0) -> None:
        """Takes the UNet over: its context and time projections are replaced by slices.

        tokens: in a row of context_kv, 0 without it.
        condition_factor: what the condition is divided by.
        """
        super().__init__()
        self.condition_factor = condition_factor
        self.unet: Any = unet.module
        slice_context(self.unet, tokens)
        slice_time(self.unet)
        use_gate_layers(self.unet)
        self.upsamplers: Any = nn.ModuleList(map(plain_upsamplers, self.unet.up_blocks))
        for block in self.unet.up_blocks:
            block.upsamplers = None
        self.head = Head(self.unet)

    def forward(
        self,
        *,
        latents: Tensor,
        history: Tensor,
        context_kv: Tensor | None = None,
        time_embeds: Tensor,
        condition: Tensor | None = None,
        rows: Tensor,
        guidance: Tensor,
        coefficients: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sample = _rows_of(latents, rows, condition, self.condition_factor).to(time_embeds.dtype)
        output, features = self._predict(sample, time_embeds, context_kv)
        mixed = _mixed(output, guidance)
        return *sampler_update(latents, history, mixed, coefficients, noise), features

    def _predict(
        self, sample: Tensor, time_embeds: Tensor, context_kv: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The UNet's own forward, and what its last layer saw; the skip connection gives every
        upsampling its size, so that heights and widths need not divide by the UNet's total
        downsampling."""
        unet = self.unet
        sample = unet.conv_in(sample)
        skips = [sample]
        for block in unet.down_blocks:
            sample, outputs = block(sample, time_embeds, **_context(block, context_kv))
            skips += outputs
        if unet.mid_block is not None:
            sample = unet.mid_block(sample, time_embeds, **_context(unet.mid_block, context_kv))
        for block, upsamplers in zip(unet.up_blocks, self.upsamplers, strict=True):
            left = len(skips) - len(block.resnets)
            skips, used = skips[:left], tuple(skips[left:])
            sample = block(sample, used, time_embeds, **_context(block, context_kv))
            for upsample in upsamplers:
                sample = upsample(sample, skips[-1].shape[2:], time_embeds)
        return self.head(sample, skips[0], time_embeds, context_kv), sample


class CachedDenoiser(nn.Module):
    """One sampling step with an earlier step's features: only the UNet's first convolution and last
    layer run. DeepCache, arXiv:2312.00858, at its shallowest."""

    def __init__(self, denoiser: Denoiser) -> None:
        """Shares the denoiser's weights."""
        super().__init__()
        self.condition_factor = denoiser.condition_factor
        self.conv_in = denoiser.unet.conv_in
        self.head = denoiser.head

    def forward(
        self,
        *,
        latents: Tensor,
        history: Tensor,
        context_kv: Tensor | None = None,
        time_embeds: Tensor,
        condition: Tensor | None = None,
        rows: Tensor,
        guidance: Tensor,
        coefficients: Tensor,
        noise: Tensor,
        features: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sample = _rows_of(latents, rows, condition, self.condition_factor)
        sample = self.conv_in(sample.to(features.dtype))
        output = self.head(features, sample, time_embeds, context_kv)
        return sampler_update(latents, history, _mixed(output, guidance), coefficients, noise)


class Head(nn.Module):
    """The end of a UNet, from its last ResNet block on: what a cached step runs as well."""

    def __init__(self, unet: Any) -> None:
        """Takes the last layer off the UNet, and its output convolution over."""
        super().__init__()
        rest = unet.up_blocks[-1]
        self.layer = deepcopy(rest)
        for name in ("resnets", "attentions"):
            layers = getattr(rest, name, None)
            if layers is not None:
                setattr(self.layer, name, getattr(self.layer, name)[-1:])
                setattr(rest, name, layers[:-1])
        self.conv_norm_out = unet.conv_norm_out
        self.conv_act = unet.conv_act
        self.conv_out = unet.conv_out

    def forward(
        self, features: Tensor, skip: Tensor, time_embeds: Tensor, context_kv: Tensor | None
    ) -> Tensor:
        context = _context(self.layer, context_kv)
        sample = self.layer(features, (skip,), time_embeds, **context)
        return self.conv_out(self.conv_act(self.conv_norm_out(sample)))


def _rows_of(latents: Tensor, rows: Tensor, condition: Tensor | None, factor: float) -> Tensor:
    """What the UNet sees: each row's latents, then its condition, divided by a factor."""
    sample = latents.index_select(0, rows)
    if condition is None:
        return sample
    return torch.cat([sample, condition if factor == 1 else condition / factor], dim=1)


def _mixed(output: Tensor, guidance: Tensor) -> Tensor:
    """[B, C, h, w] of M rows' predictions.

    A matrix product may sum in another order for another batch; rows of weight 0 add nothing here,
    so a sample's picture does not depend on its company.
    """
    return (guidance[:, :, None, None, None] * output.float()).sum(dim=1)


def sampler_update(
    latents: Tensor, history: Tensor, output: Tensor, coefficients: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """next_latents and next_history, as docs/reference/bundle-format.md has them."""
    p, q, a, b0, b1, b2, b3, s = coefficients[:, :, None, None, None].unbind(1)
    m0 = p * latents + q * output
    m1, m2, m3 = history.unbind(0)
    update = a * latents + b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3 + s * noise
    return update, torch.stack([m0, m1, m2])


def _context(block: nn.Module, context_kv: Tensor | None) -> dict[str, Tensor]:
    if context_kv is None or not getattr(block, "has_cross_attention", False):
        return {}
    return {"encoder_hidden_states": context_kv}


class _SlicedContext:
    """Attention processor: keys and values are read from their places in context_kv."""

    def __init__(self, key: slice, value: slice) -> None:
        self.key = key
        self.value = value

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> Tensor:
        rows, positions = hidden_states.shape[:2]
        head_dim = attn.inner_dim // attn.heads

        def heads(projected: Tensor) -> Tensor:
            return projected.view(rows, -1, attn.heads, head_dim).transpose(1, 2)

        query = heads(attn.to_q(hidden_states))
        key = heads(encoder_hidden_states[:, self.key])
        value = heads(encoder_hidden_states[:, self.value])
        mixed = scaled_dot_product_attention(query, key, value, scale=attn.scale)
        return attn.to_out[0](mixed.transpose(1, 2).reshape(rows, positions, attn.inner_dim))


class _SlicedTime(nn.Module):
    """Stands where a ResNet block projected the time embedding; reads the projection instead."""

    def __init__(self, place: slice) -> None:
        super().__init__()
        self.place = place

    def forward(self, time_embeds: Tensor) -> Tensor:
        return time_embeds[:, self.place]


def slice_context(unet: nn.Module, tokens: int) -> None:
    """Let every cross-attention read its keys and values from their places in context_kv."""
    places = _places(context_sizes(unet, tokens))
    for attention in cross_attentions(unet):
        attention.set_processor(_SlicedContext(next(places), next(places)))
        del attention.to_k, attention.to_v


def slice_time(unet: Any) -> None:
    """Let every ResNet block read its time projection from its place in time_embeds."""
    places = _places(block.time_emb_proj.out_features for block in resnet_blocks(unet))
    for block in resnet_blocks(unet):
        block.time_emb_proj = _SlicedTime(next(places))
        block.skip_time_act = True
    for name in ("time_proj", "time_embedding", "add_time_proj", "add_embedding"):
        if hasattr(unet, name):
            delattr(unet, name)


def _places(sizes: Iterable[int]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size
