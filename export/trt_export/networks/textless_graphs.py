"""The graphs of pipelines without prompts: UNet2DModel and a decoder that re-quantizes."""

import torch
from diffusers import UNet2DModel, VQModel
from torch import Tensor, nn

from trt_export.networks.denoisers import Head, sampler_update, slice_time
from trt_export.networks.graphs import Decoder, use_plain_upsampling


class TextlessDenoiser(nn.Module):
    """One sampling step of an unconditional UNet; the sampler's update in float32.

    latents, history, time_embeds, coefficients, noise and, for super-resolution, low_resolution
    float32 [B, 3, h, w] → next_latents, next_history, features.
    """

    def __init__(self, unet: UNet2DModel) -> None:
        """Takes the UNet over: its time projections are replaced by table slices."""
        super().__init__()
        self.unet = unet
        slice_time(unet)
        use_plain_upsampling(unet)
        self.head = Head(unet)

    def forward(
        self,
        latents: Tensor,
        history: Tensor,
        time_embeds: Tensor,
        coefficients: Tensor,
        noise: Tensor,
        low_resolution: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sample = _seen(latents, low_resolution).to(time_embeds.dtype)
        output, features = self._unet(sample, time_embeds)
        return *sampler_update(latents, history, output.float(), coefficients, noise), features

    def _unet(self, sample: Tensor, time_embeds: Tensor) -> tuple[Tensor, Tensor]:
        """As denoisers.Denoiser has it."""
        unet = self.unet
        sample = unet.conv_in(sample)
        skips = [sample]
        for block in unet.down_blocks:
            sample, outputs = block(sample, time_embeds)
            skips += outputs
        sample = unet.mid_block(sample, time_embeds)
        for block in unet.up_blocks:
            for number, resnet in enumerate(block.resnets):
                sample = resnet(torch.cat([sample, skips.pop()], dim=1), time_embeds)
                if getattr(block, "attentions", None):
                    sample = block.attentions[number](sample)
            for upsampler in block.upsamplers or ():
                sample = upsampler(sample, skips[-1].shape[2:])
        return self.head(sample, skips.pop(), time_embeds), sample


class CachedTextlessDenoiser(nn.Module):
    """As denoisers.CachedDenoiser, of an unconditional UNet."""

    def __init__(self, denoiser: TextlessDenoiser) -> None:
        """Shares the denoiser's weights."""
        super().__init__()
        self.conv_in = denoiser.unet.conv_in
        self.head = denoiser.head

    def forward(
        self,
        latents: Tensor,
        history: Tensor,
        time_embeds: Tensor,
        coefficients: Tensor,
        noise: Tensor,
        features: Tensor,
        low_resolution: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        sample = self.conv_in(_seen(latents, low_resolution).to(features.dtype))
        output = self.head(features, sample, time_embeds).float()
        return sampler_update(latents, history, output, coefficients, noise)


def _seen(latents: Tensor, low_resolution: Tensor | None) -> Tensor:
    """What the UNet sees."""
    return latents if low_resolution is None else torch.cat([latents, low_resolution], dim=1)


class QuantizingDecoder(nn.Module):
    """latents float32 [B, C, h, w] → image uint8 [B, H, W, 3], by way of the nearest codes.

    VQModel.decode quantizes whatever it is given. The latents are not divided by scaling_factor:
    VQ models have none, and diffusers' default of 0.18215 is not theirs.
    """

    def __init__(self, vae: VQModel) -> None:
        super().__init__()
        self.codes = vae.quantize.embedding
        self.decoder = Decoder(vae, scaling_factor=1.0)

    def forward(self, latents: Tensor) -> Tensor:
        codes = self.codes.weight.float()
        flat = latents.permute(0, 2, 3, 1)
        # The nearest code is the one with the largest 2·z·e - |e|², in float32: codes lie close.
        likeness = 2 * flat @ codes.T - codes.square().sum(dim=1)
        nearest = nn.functional.embedding(likeness.argmax(dim=-1), codes)
        return self.decoder(nearest.permute(0, 3, 1, 2))
