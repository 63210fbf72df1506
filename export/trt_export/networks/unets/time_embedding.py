"""time_embedding: what the UNet makes of a timestep, which stays constant over the samples."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from trt_export.networks.unets.unet import UNet, resnet_blocks


class TimeEmbedding(nn.Module):
    """timesteps float32 [N] → time_embeds [N, E], one ResNet block's projection after the other.

    What may join them: guidance_scale float32 [N]; text_embeds float32 [N, P] and time_ids float32
    [N, 6].
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        module: Any = unet.module
        self.sinusoid = module.time_proj
        self.embedding = module.time_embedding
        self.guidance = GuidanceSinusoid(unet.guidance_width) if unet.guidance_width else None
        self.added = AddedEmbedding(module) if unet.pooled_width else None
        self.activation = getattr(module, "time_embed_act", None) or nn.Identity()
        blocks = resnet_blocks(module)
        self.nonlinearity = blocks[0].nonlinearity
        self.active = [not block.skip_time_act for block in blocks]
        self.projections = nn.ModuleList(block.time_emb_proj for block in blocks)

    def forward(
        self,
        timesteps: Tensor,
        guidance_scale: Tensor | None = None,
        text_embeds: Tensor | None = None,
        time_ids: Tensor | None = None,
    ) -> Tensor:
        dtype = self.embedding.linear_1.weight.dtype
        sinusoid, condition = self.sinusoid(timesteps).to(dtype), None
        if self.guidance is not None and guidance_scale is not None:
            condition = self.guidance(guidance_scale).to(dtype)
        embedding = self.embedding(sinusoid, condition)
        if self.added is not None and text_embeds is not None and time_ids is not None:
            embedding = embedding + self.added(text_embeds, time_ids)
        embedding = self.activation(embedding)
        active = self.nonlinearity(embedding)
        projected = zip(self.projections, self.active, strict=True)
        return torch.cat(
            [project(active if on else embedding) for project, on in projected], dim=-1
        )


class AddedEmbedding(nn.Module):
    """text_embeds float32 [N, P], time_ids float32 [N, 6] → what Stable Diffusion XL adds to the
    embedding of the timesteps."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.sinusoid = unet.add_time_proj
        self.embedding = unet.add_embedding

    def forward(self, text_embeds: Tensor, time_ids: Tensor) -> Tensor:
        sinusoids = self.sinusoid(time_ids.flatten()).reshape(len(time_ids), -1)
        joined = torch.cat([text_embeds, sinusoids], dim=-1)
        return self.embedding(joined.to(self.embedding.linear_1.weight.dtype))


class GuidanceSinusoid(nn.Module):
    """guidance_scale float32 [N] → [N, width], as diffusers' LatentConsistencyModelPipeline has it:
    sine and cosine of 1000·(scale - 1) at frequencies from 1 down to 1/10000."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        exponents = torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1))
        self.register_buffer("frequencies", torch.exp(exponents), persistent=False)
        self.padding = width % 2

    def forward(self, guidance_scale: Tensor) -> Tensor:
        angles = (guidance_scale - 1)[:, None] * 1000.0 * self.frequencies
        waves = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
        return nn.functional.pad(waves, (0, self.padding)) if self.padding else waves
