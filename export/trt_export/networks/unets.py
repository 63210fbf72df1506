"""UNets: diffusers' UNet2DConditionModel and UNet2DModel, seen alike."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from trt_export.networks.plain import require_plain

PLAIN_CONDITIONAL = {
    "addition_embed_type": (None,),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_class_embeds": (None,),
    "time_embedding_act_fn": (None,),
}
"""Settings of UNet2DConditionModel that add inputs or steps which the graphs don't have."""
PLAIN_UNCONDITIONAL = {
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "downsample_type": ("conv",),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
    "upsample_type": ("conv",),
}
"""Likewise of UNet2DModel."""


class UNet:
    """A UNet with or without cross-attention, as diffusers made it."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.config: Mapping[str, Any] = module.config

    @property
    def context_width(self) -> int | None:
        """Channels of the text that it attends to; None without cross-attention."""
        return self.config.get("cross_attention_dim")

    @property
    def guidance_width(self) -> int | None:
        """Channels of the sinusoid of the guidance scale; None if that is not embedded."""
        return self.config.get("time_cond_proj_dim")

    @property
    def time_width(self) -> int:
        """Numbers in a row of time_embeds."""
        return sum(block.time_emb_proj.out_features for block in resnet_blocks(self.module))

    @property
    def feature_channels(self) -> int:
        """Channels of what the last layer sees besides the first convolution's output."""
        last = self.module.up_blocks[-1].resnets[-1]
        return int(last.in_channels - self.module.conv_in.out_channels)

    def predict(
        self,
        sample: Tensor,
        timesteps: Tensor,
        context: Tensor | None,
        guidance_scale: Tensor | None,
    ) -> Tensor:
        """What diffusers' own forward makes of M rows."""
        given: dict[str, Tensor] = {}
        if context is not None:
            given["encoder_hidden_states"] = context
        if guidance_scale is not None:
            given["timestep_cond"] = self.guidance_embedding(guidance_scale)
        return self.module(sample, timesteps, **given).sample

    def guidance_embedding(self, guidance_scale: Tensor) -> Tensor:
        """The sinusoid of guidance scales [N], as diffusers' latent consistency pipeline has it."""
        from diffusers import LatentConsistencyModelPipeline  # takes a second that others need not

        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        return embed(None, guidance_scale - 1, embedding_dim=self.guidance_width)


class ConditionalUNet(UNet):
    """UNet2DConditionModel."""

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        return require_plain(UNet2DConditionModel.from_config(config), PLAIN_CONDITIONAL)


class UnconditionalUNet(UNet):
    """UNet2DModel."""

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        return require_plain(UNet2DModel.from_config(config), PLAIN_UNCONDITIONAL)


def cross_attentions(unet: nn.Module) -> list[Attention]:
    """Every cross-attention layer, in the order in which context_kv holds keys and values."""
    return [m for m in unet.modules() if isinstance(m, Attention) and m.is_cross_attention]


def context_sizes(unet: nn.Module, tokens: int) -> list[int]:
    """Numbers in context_kv's pieces: each layer's keys, then its values, [tokens, channels] laid
    flat."""
    layers = cross_attentions(unet)
    return [tokens * p.out_features for a in layers for p in (a.to_k, a.to_v)]


def resnet_blocks(unet: nn.Module) -> list[ResnetBlock2D]:
    """Every ResNet block, in the order in which time_embeds holds their projections."""
    return [m for m in unet.modules() if isinstance(m, ResnetBlock2D)]


def time_embeds_of(unet: UNet, timesteps: Tensor, guidance_scale: Tensor | None) -> Tensor:
    """Every ResNet block's projection of the timesteps [N], side by side, by diffusers' layers."""
    module = unet.module
    condition = None if guidance_scale is None else unet.guidance_embedding(guidance_scale)
    embedding = module.time_embedding(module.time_proj(timesteps), condition)
    return torch.cat(
        [
            block.time_emb_proj(embedding if block.skip_time_act else block.nonlinearity(embedding))
            for block in resnet_blocks(module)
        ],
        dim=-1,
    )
