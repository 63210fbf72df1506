"""The six graphs of a bundle, as PyTorch modules ready for tracing.

What stays constant over the sampling steps leaves the UNet: the cross-attention keys and values
move to TextEncoder, the time embedding and its projections to TimeEmbedding. Guidance, the
sampler's update, scaling and rounding move in. engines/README.md lists every input and output.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention


def cross_attentions(unet: UNet2DConditionModel) -> list[Attention]:
    """Every cross-attention layer, in the order in which text_kv holds keys and values."""
    return [m for m in unet.modules() if isinstance(m, Attention) and m.is_cross_attention]


def resnet_blocks(unet: UNet2DConditionModel | UNet2DModel) -> list[ResnetBlock2D]:
    """Every ResNet block, in the order in which time_embeds holds their projections."""
    return [m for m in unet.modules() if isinstance(m, ResnetBlock2D)]


class TextEncoder(nn.Module):
    """input_ids int32 [B, 77] → text_kv [B, 77, K]: keys, then values, layer after layer."""

    def __init__(self, bert: LDMBertModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.encoder = bert.model
        layers = cross_attentions(unet)
        self.projections = nn.ModuleList(p for a in layers for p in (a.to_k, a.to_v))

    def forward(self, input_ids: Tensor) -> Tensor:
        encoder = self.encoder
        positions = encoder.embed_positions.weight[: input_ids.shape[1]]
        # The residual stream stays float32: LDMBert's own forward guards its half-precision
        # overflow with a data-dependent clamp, which cannot be traced.
        hidden_states = (encoder.embed_tokens(input_ids) + positions).float()
        for layer in encoder.layers:
            normed = layer.self_attn_layer_norm(hidden_states)
            hidden_states = hidden_states + _bert_attention(layer.self_attn, normed).float()
            normed = layer.final_layer_norm(hidden_states)
            hidden_states = (
                hidden_states + layer.fc2(layer.activation_fn(layer.fc1(normed))).float()
            )
        context = encoder.layer_norm(hidden_states)
        return torch.cat([project(context) for project in self.projections], dim=-1)


def _bert_attention(attention: Any, hidden_states: Tensor) -> Tensor:
    batch, tokens, _ = hidden_states.shape

    def heads(project: nn.Module) -> Tensor:
        split = project(hidden_states).view(batch, tokens, attention.num_heads, attention.head_dim)
        return split.transpose(1, 2)

    query, key, value = map(heads, (attention.q_proj, attention.k_proj, attention.v_proj))
    mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2)
    return attention.out_proj(mixed.reshape(batch, tokens, attention.inner_dim))


class TimeEmbedding(nn.Module):
    """timesteps float32 [N] → time_embeds [N, E], one block's projection after the other."""

    def __init__(self, unet: UNet2DConditionModel | UNet2DModel) -> None:
        super().__init__()
        self.sinusoid = unet.time_proj
        self.embedding = unet.time_embedding
        self.activation = nn.Identity() if unet.config.get("resnet_skip_time_act") else nn.SiLU()
        self.projections = nn.ModuleList(block.time_emb_proj for block in resnet_blocks(unet))

    def forward(self, timesteps: Tensor) -> Tensor:
        sinusoid = self.sinusoid(timesteps).to(self.embedding.linear_1.weight.dtype)
        embedding = self.activation(self.embedding(sinusoid))
        return torch.cat([project(embedding) for project in self.projections], dim=-1)


class Denoiser(nn.Module):
    """One sampling step: UNet on M rows, guidance to B samples, the sampler's update in float32."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Takes the UNet over: its text and time projections are replaced by table slices."""
        super().__init__()
        self.unet = unet
        _slice_text(unet)
        slice_time(unet)
        use_plain_upsampling(unet)
        self.head = Head(unet)

    def forward(
        self,
        latents: Tensor,
        history: Tensor,
        text_kv: Tensor,
        time_embeds: Tensor,
        rows: Tensor,
        guidance: Tensor,
        coefficients: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sample = latents.index_select(0, rows).to(text_kv.dtype)
        output, features = self._unet(sample, time_embeds.index_select(0, rows), text_kv)
        mixed = _mixed(output, guidance)
        return *sampler_update(latents, history, mixed, coefficients, noise), features

    def _unet(self, sample: Tensor, time_embeds: Tensor, text_kv: Tensor) -> tuple[Tensor, Tensor]:
        """The UNet's own forward, and what its last layer saw; the skip connection gives every
        upsampling its size, so that heights and widths need not divide by the UNet's total
        downsampling."""
        unet = self.unet
        sample = unet.conv_in(sample)
        skips = [sample]
        for block in unet.down_blocks:
            sample, outputs = block(sample, time_embeds, **_text(block, text_kv))
            skips += outputs
        if unet.mid_block is not None:
            sample = unet.mid_block(sample, time_embeds, **_text(unet.mid_block, text_kv))
        for block in unet.up_blocks:
            count = len(block.resnets)
            skips, used = skips[:-count], tuple(skips[-count:])
            size = skips[-1].shape[2:] if skips else None
            sample = block(sample, used, time_embeds, upsample_size=size, **_text(block, text_kv))
        return self.head(sample, skips[0], time_embeds, text_kv), sample


class CachedDenoiser(nn.Module):
    """One sampling step with an earlier step's features: all that is new passes through the UNet's
    first convolution and last layer. DeepCache, arXiv:2312.00858, at its shallowest."""

    def __init__(self, denoiser: Denoiser) -> None:
        """Shares the denoiser's weights."""
        super().__init__()
        self.conv_in = denoiser.unet.conv_in
        self.head = denoiser.head

    def forward(
        self,
        latents: Tensor,
        history: Tensor,
        text_kv: Tensor,
        time_embeds: Tensor,
        rows: Tensor,
        guidance: Tensor,
        coefficients: Tensor,
        noise: Tensor,
        features: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sample = self.conv_in(latents.index_select(0, rows).to(features.dtype))
        output = self.head(features, sample, time_embeds.index_select(0, rows), text_kv)
        return sampler_update(latents, history, _mixed(output, guidance), coefficients, noise)


class Head(nn.Module):
    """The end of a UNet, from its last ResNet block on: what a cached step runs as well."""

    def __init__(self, unet: UNet2DConditionModel | UNet2DModel) -> None:
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
        self, features: Tensor, skip: Tensor, time_embeds: Tensor, text_kv: Tensor | None = None
    ) -> Tensor:
        text = {} if text_kv is None else _text(self.layer, text_kv)
        sample = self.layer(features, (skip,), time_embeds, **text)
        return self.conv_out(self.conv_act(self.conv_norm_out(sample)))


def feature_channels(unet: UNet2DConditionModel | UNet2DModel) -> int:
    """Channels of what the last layer sees besides the first convolution's output."""
    return unet.up_blocks[-1].resnets[-1].in_channels - unet.conv_in.out_channels


def _mixed(output: Tensor, guidance: Tensor) -> Tensor:
    """[B, C, h, w] of M rows' predictions.

    A matrix product may sum in another order for another batch; rows of weight 0 add nothing here,
    so a sample's picture does not depend on its company.
    """
    return (guidance[:, :, None, None, None] * output.float()).sum(dim=1)


def sampler_update(
    latents: Tensor, history: Tensor, output: Tensor, coefficients: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """next_latents and next_history, as engines/README.md has them."""
    p, q, a, b0, b1, b2, b3, s = coefficients[:, :, None, None, None].unbind(1)
    m0 = p * latents + q * output
    m1, m2, m3 = history.unbind(0)
    update = a * latents + b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3 + s * noise
    return update, torch.stack([m0, m1, m2])


def _text(block: nn.Module, text_kv: Tensor) -> dict[str, Tensor]:
    takes_text = getattr(block, "has_cross_attention", False)
    return {"encoder_hidden_states": text_kv} if takes_text else {}


class _SlicedText:
    """Attention processor: keys and values are read from their places in text_kv."""

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
        key = heads(encoder_hidden_states[..., self.key])
        value = heads(encoder_hidden_states[..., self.value])
        mixed = scaled_dot_product_attention(query, key, value, scale=attn.scale)
        return attn.to_out[0](mixed.transpose(1, 2).reshape(rows, positions, attn.inner_dim))


class _SlicedTime(nn.Module):
    """Stands where a ResNet block projected the time embedding; reads the projection instead."""

    def __init__(self, place: slice) -> None:
        super().__init__()
        self.place = place

    def forward(self, time_embeds: Tensor) -> Tensor:
        return time_embeds[:, self.place]


def _slice_text(unet: UNet2DConditionModel) -> None:
    places = _places(p.out_features for a in cross_attentions(unet) for p in (a.to_k, a.to_v))
    for attention in cross_attentions(unet):
        attention.set_processor(_SlicedText(next(places), next(places)))
        del attention.to_k, attention.to_v


def slice_time(unet: UNet2DConditionModel | UNet2DModel) -> None:
    """Let every ResNet block read its time projection from its place in time_embeds."""
    places = _places(block.time_emb_proj.out_features for block in resnet_blocks(unet))
    for block in resnet_blocks(unet):
        block.time_emb_proj = _SlicedTime(next(places))
        block.skip_time_act = True
    del unet.time_proj, unet.time_embedding


def _places(sizes: Iterator[int]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size


class _Upsample(nn.Module):
    """Upsample2D without its workarounds for large tensors, whose conditions on the batch size
    would be traced as limits of the graph."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, hidden_states: Tensor, output_size: torch.Size | None = None) -> Tensor:
        scale = 2.0 if output_size is None else None
        resized = interpolate(hidden_states, size=output_size, scale_factor=scale, mode="nearest")
        return self.conv(resized)


def use_plain_upsampling(model: nn.Module) -> None:
    """Let every upsampling take the size that it is given."""
    for block in model.modules():
        upsamplers = getattr(block, "upsamplers", None)
        if upsamplers is not None:
            block.upsamplers = nn.ModuleList(_Upsample(u.conv) for u in upsamplers)


class Decoder(nn.Module):
    """latents float32 [B, C, h, w], scaled, → image uint8 [B, H, W, 3]."""

    def __init__(self, vae: AutoencoderKL | VQModel, scaling_factor: float) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder
        use_plain_upsampling(vae.decoder)
        self.scaling_factor = scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        scaled = (latents / self.scaling_factor).to(self.decoder.conv_in.weight.dtype)
        if self.post_quant_conv is not None:
            scaled = self.post_quant_conv(scaled)
        image = self.decoder(scaled).float()
        pixels = ((image / 2 + 0.5).clamp(0, 1) * 255).round()
        return pixels.permute(0, 2, 3, 1).to(torch.uint8)


class Encoder(nn.Module):
    """image uint8 [B, H, W, 3] → latents_mean, latents_std float32 [B, C, h, w], scaled."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.quant_conv = vae.quant_conv
        self.scaling_factor: float = vae.config.scaling_factor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        pixels = image.float().permute(0, 3, 1, 2) / 127.5 - 1  # TensorRT transposes no uint8
        moments = self.encoder(pixels.to(self.encoder.conv_in.weight.dtype))
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, log_variance = moments.float().chunk(2, dim=1)
        std = torch.exp(0.5 * log_variance.clamp(-30, 20))
        return mean * self.scaling_factor, std * self.scaling_factor
