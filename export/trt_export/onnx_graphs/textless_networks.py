"""Networks of pipelines without prompts, LDMPipeline and LDMSuperResolutionPipeline."""

from collections.abc import Mapping

import torch
from diffusers import VQModel
from torch import Tensor, nn

from trt_export.networks import graphs
from trt_export.networks.denoisers import feature_channels
from trt_export.networks.reference import both_steps, time_embeds_of, to_pixels
from trt_export.networks.signatures import textless_inputs
from trt_export.networks.textless_graphs import (
    CachedTextlessDenoiser,
    QuantizingDecoder,
    TextlessDenoiser,
)
from trt_export.onnx_graphs.tracing import Networks, Tensors
from trt_pipeline.bundle.manifest import Precision, TensorSpec


class TextlessNetworks(Networks):
    """As Networks, over UNet2DModel and VQModel or AutoencoderKL."""

    def reference_of(self, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
        """What the untouched modules answer to every graph's random inputs."""
        unet, vae = self.modules.unet, self.modules.vqvae
        timesteps = inputs["time_embedding"]["timesteps"]

        def predict(step: Tensors) -> Tensor:
            image = [step["low_resolution"]] if "low_resolution" in step else []
            return unet(torch.cat([step["latents"], *image], dim=1), timesteps).sample

        with torch.inference_mode():
            latents = inputs["decoder"]["latents"] / self._scaling_factor
            return {
                "time_embedding": {"time_embeds": time_embeds_of(unet, timesteps)},
                **both_steps(unet, predict, inputs),
                "decoder": {"image": to_pixels(vae.decode(latents).sample)},
            }

    @property
    def _scaling_factor(self) -> float:
        vae = self.modules.vqvae
        return 1.0 if isinstance(vae, VQModel) else vae.config.scaling_factor

    def make_graphs(self) -> dict[str, nn.Module]:
        """The graphs' modules; takes the loaded ones apart."""
        unet, vae = self.modules.unet, self.modules.vqvae
        quantizing = isinstance(vae, VQModel)
        time_embedding, denoiser = graphs.TimeEmbedding(unet), TextlessDenoiser(unet)
        return {
            "time_embedding": time_embedding,
            "denoiser": denoiser,
            "cached_denoiser": CachedTextlessDenoiser(denoiser),
            "decoder": QuantizingDecoder(vae)
            if quantizing
            else graphs.Decoder(vae, self._scaling_factor),
        }

    def inputs(self, precision: Precision) -> dict[str, tuple[TensorSpec, ...]]:
        """Of every graph."""
        unet = self.modules.unet
        time = sum(block.time_emb_proj.out_features for block in graphs.resnet_blocks(unet))
        channels = unet.config.out_channels
        features = feature_channels(unet)
        return textless_inputs(
            channels, unet.config.in_channels - channels, time, features, precision
        )

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, H, W] in -1..1, as the denoiser knows them."""
        vae = self.modules.vqvae
        if isinstance(vae, VQModel):
            return vae.encode(pictures).latents
        return vae.encode(pictures).latent_dist.mean * self._scaling_factor
