"""First stages: diffusers' AutoencoderKL and VQModel, and the graphs decoder and encoder.

Scaling and rounding are inside the graphs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor, nn

from trt_export.networks.autoencoders.settings import check_kl, check_vq
from trt_export.networks.layers import plain_upsamplers

GRAPHS = {
    "decoder": ("decoder", "post_quant_conv", "quantize"),
    "encoder": ("encoder", "quant_conv"),
}
"""Graph → the parts of a first stage that it is made of."""
PUBLISHED_VQ_FACTOR = 1.0
"""What CompVis' VQ models were trained with. They were published before VQModel had the setting,
and its default is for another model."""


class Autoencoder:
    """A first stage as diffusers made it. Settings that no reference reads, such as shift_factor
    and latents_mean, have no effect here either."""

    graphs = GRAPHS

    def __init__(self, module: Any) -> None:
        self.module = module
        self.scaling_factor: float = module.config.scaling_factor
        self.latent_channels: int = module.config.latent_channels
        self.pixels_per_latent: int = 2 ** (len(module.config.block_out_channels) - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """The uint8 picture [B, H, W, 3] that diffusers' own forward makes of latents."""
        image = self.module.decode(latents / self.scaling_factor).sample
        return to_pixels(image)


class KLAutoencoder(Autoencoder):
    """AutoencoderKL."""

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        check_kl(config)
        return AutoencoderKL.from_config(config)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, H, W] in -1..1, as the denoiser knows them."""
        return self.module.encode(pictures).latent_dist.mean * self.scaling_factor

    def encoder_outputs(self, image: Tensor, mask: Tensor | None = None) -> Mapping[str, Tensor]:
        """What the encoder's graph should answer, by diffusers' own forward."""
        pixels = image.permute(0, 3, 1, 2).float() / 255 * 2 - 1
        if mask is not None:
            pixels = pixels * (mask[:, None] < 0.5)
        posterior = self.module.encode(pixels).latent_dist
        scale = self.scaling_factor
        return {"latents_mean": posterior.mean * scale, "latents_std": posterior.std * scale}

    def decoder(self) -> nn.Module:
        """The graph's module; takes the first stage apart."""
        return Decoder(self.module, self.scaling_factor)

    def encoder(self) -> nn.Module:
        """The graph's module."""
        return Encoder(self.module)


class VQAutoencoder(Autoencoder):
    """VQModel."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.latent_channels = module.quantize.vq_embed_dim

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        check_vq(config)
        return VQModel.from_config({"scaling_factor": PUBLISHED_VQ_FACTOR, **config})

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, H, W] in -1..1, as the denoiser knows them."""
        return self.module.encode(pictures).latents * self.scaling_factor

    def decoder(self) -> nn.Module:
        """The graph's module; takes the first stage apart."""
        return QuantizingDecoder(self.module, self.scaling_factor)


def to_pixels(image: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] of a decoded picture [B, 3, H, W] in -1..1."""
    pixels = ((image / 2 + 0.5).clamp(0, 1) * 255).round()
    return pixels.permute(0, 2, 3, 1).to(torch.uint8)


class Decoder(nn.Module):
    """latents float32 [B, C, h, w], scaled, → image uint8 [B, H, W, 3]."""

    def __init__(self, vae: Any, scaling_factor: float) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv
        self.decoder = vae.decoder
        for block in vae.decoder.up_blocks:
            block.upsamplers = plain_upsamplers(block)
        self.scaling_factor = scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        scaled = (latents / self.scaling_factor).to(self.decoder.conv_in.weight.dtype)
        if self.post_quant_conv is not None:
            scaled = self.post_quant_conv(scaled)
        return to_pixels(self.decoder(scaled).float())


class QuantizingDecoder(nn.Module):
    """latents float32 [B, C, h, w], scaled, → image uint8 [B, H, W, 3], by way of the nearest
    codes, as VQModel.decode has it."""

    def __init__(self, vae: Any, scaling_factor: float) -> None:
        super().__init__()
        self.codes = vae.quantize.embedding
        self.decoder = Decoder(vae, scaling_factor=1.0)  # the codes are not scaled
        self.scaling_factor = scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        codes = self.codes.weight.float()
        flat = (latents / self.scaling_factor).permute(0, 2, 3, 1)
        # The nearest code is the one with the largest 2·z·e - |e|², in float32: codes lie close.
        likeness = 2 * flat @ codes.T - codes.square().sum(dim=1)
        nearest = nn.functional.embedding(likeness.argmax(dim=-1), codes)
        return self.decoder(nearest.permute(0, 3, 1, 2))


class Encoder(nn.Module):
    """image uint8 [B, H, W, 3] → latents_mean, latents_std float32 [B, C, h, w], scaled.

    mask: uint8 [B, H, W], 1 where the picture is left out. What is left out is 0 between -1 and 1,
    as diffusers' inpainting pipelines have it; no byte is.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder = vae.encoder
        self.quant_conv = vae.quant_conv
        self.scaling_factor: float = vae.config.scaling_factor

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pixels = image.float().permute(0, 3, 1, 2) / 127.5 - 1  # TensorRT transposes no uint8
        if mask is not None:
            pixels = pixels * (1 - mask.float()).unsqueeze(1)
        moments = self.encoder(pixels.to(self.encoder.conv_in.weight.dtype))
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, log_variance = moments.float().chunk(2, dim=1)
        std = torch.exp(0.5 * log_variance.clamp(-30, 20))
        return mean * self.scaling_factor, std * self.scaling_factor
