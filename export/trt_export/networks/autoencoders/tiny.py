"""AutoencoderTiny (TAESD): a small decoder of the same latents, and the graph tiny_decoder."""

from typing import Any

from diffusers import AutoencoderTiny
from torch import Tensor, nn

from trt_export.networks.autoencoders.autoencoder import to_pixels
from trt_export.networks.settings import (
    CHANNELS,
    HARMLESS,
    LEVELS,
    POSITIVE,
    Rules,
    check_settings,
    list_of,
    only,
    whole,
)

BLOCKS = list_of(whole(0, 64), most=8)
SETTINGS: Rules = {
    "in_channels": only(3),
    "out_channels": only(3),
    "encoder_block_out_channels": LEVELS,
    "decoder_block_out_channels": LEVELS,
    "act_fn": only("relu", "silu", "swish", "mish", "gelu"),
    "upsample_fn": only("nearest"),
    "latent_channels": CHANNELS,
    "upsampling_scaling_factor": whole(1, 8),
    "num_encoder_blocks": BLOCKS,
    "num_decoder_blocks": BLOCKS,
    "latent_magnitude": HARMLESS,
    "latent_shift": HARMLESS,
    "force_upcast": HARMLESS,
    "scaling_factor": POSITIVE,
    "shift_factor": HARMLESS,
}
"""AutoencoderTiny's. The harmless ones are the encoder's, or no pipeline of Stable Diffusion reads
them."""


class TinyAutoencoder:
    """A tiny first stage as diffusers made it."""

    def __init__(self, module: Any) -> None:
        config = module.config
        self.module = module
        self.latent_channels: int = config.latent_channels
        levels = len(config.decoder_block_out_channels) - 1
        self.pixels_per_latent: int = config.upsampling_scaling_factor**levels
        self.scaling_factor: float = config.scaling_factor

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        settings = check_settings(AutoencoderTiny, config, SETTINGS)
        channels = settings["decoder_block_out_channels"]
        if len({*channels}) > 1:
            raise ValueError(
                f"decoder_block_out_channels is {channels}, but diffusers joins its blocks only "
                "where all have one number of channels"
            )
        return AutoencoderTiny.from_config(config)

    def decode(self, latents: Tensor) -> Tensor:
        """The uint8 picture [B, H, W, 3] that diffusers' own forward makes of latents."""
        return to_pixels(self.module.decode(latents / self.scaling_factor).sample)

    def decoder(self) -> nn.Module:
        """The graph's module."""
        return TinyDecoder(self.module.decoder, self.scaling_factor)


class TinyDecoder(nn.Module):
    """latents float32 [B, C, h, w], scaled, → image uint8 [B, H, W, 3]."""

    def __init__(self, decoder: Any, scaling_factor: float) -> None:
        super().__init__()
        self.decoder = decoder
        self.scaling_factor = scaling_factor

    def forward(self, latents: Tensor) -> Tensor:
        dtype = next(self.decoder.parameters()).dtype
        return to_pixels(self.decoder((latents / self.scaling_factor).to(dtype)).float())
