"""The graphs around the sampling steps, as PyTorch modules ready for tracing.

What stays constant over the steps leaves the UNet: the cross-attention keys and values move to
TextEncoder, the time embedding and its projections to TimeEmbedding. Scaling and rounding move into
Decoder and Encoder. denoisers.py has the steps, engines/README.md every input and output.
"""

from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention

from trt_export.networks.signatures import TEXT_TOKENS


def cross_attentions(unet: UNet2DConditionModel) -> list[Attention]:
    """Every cross-attention layer, in the order in which text_kv holds keys and values."""
    return [m for m in unet.modules() if isinstance(m, Attention) and m.is_cross_attention]


def text_sizes(unet: UNet2DConditionModel) -> list[int]:
    """Numbers in text_kv's pieces: each layer's keys, then its values, [77, channels] laid flat."""
    layers = cross_attentions(unet)
    return [TEXT_TOKENS * p.out_features for a in layers for p in (a.to_k, a.to_v)]


def resnet_blocks(unet: UNet2DConditionModel | UNet2DModel) -> list[ResnetBlock2D]:
    """Every ResNet block, in the order in which time_embeds holds their projections."""
    return [m for m in unet.modules() if isinstance(m, ResnetBlock2D)]


class TextEncoder(nn.Module):
    """input_ids int32 [B, 77] → text_kv [B, K]: the pieces of text_sizes, one after the other, so
    that a step need not copy them out of a row."""

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
        return torch.cat([project(context).flatten(1) for project in self.projections], dim=-1)


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


class _Gated(nn.Module):
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


def use_gate_layers(unet: UNet2DConditionModel) -> None:
    """Let every feed-forward network compute its gate apart."""
    for block in unet.modules():
        if isinstance(block, FeedForward) and isinstance(block.net[0], GEGLU):
            block.net[0] = _Gated(block.net[0])


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
