"""UNets: diffusers' UNet2DConditionModel and UNet2DModel, seen alike."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_blocks import CrossAttnUpBlock2D, UpBlock2D
from torch import Tensor, nn

from trt_export.networks.signatures import TIME_IDS
from trt_export.networks.unets.settings import check_conditional, check_unconditional


class UNet:
    """A UNet with or without cross-attention, as diffusers made it."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.config: Mapping[str, Any] = module.config

    @property
    def context_widths(self) -> set[int]:
        """Channels of the text that it attends to; several if its layers disagree."""
        return {layer.cross_attention_dim for layer in cross_attentions(self.module)}

    @property
    def min_size(self) -> int:
        """Smallest height and width of latents that its downsampling leaves a pixel of."""
        size = 1
        for layer in reversed(downsamplers(self.module)):
            size = 2 * size - rounds_up(layer)
        return size

    @property
    def whole_size(self) -> int:
        """What heights and widths must divide by for diffusers' own forward."""
        return 2 ** len(downsamplers(self.module))

    @property
    def guidance_width(self) -> int | None:
        """Channels of the sinusoid of the guidance scale; None if that is not embedded."""
        return self.config.get("time_cond_proj_dim")

    @property
    def pooled_width(self) -> int:
        """Channels of the text that joins the time embedding; 0 without it."""
        if self.config.get("addition_embed_type") is None:
            return 0
        sizes = TIME_IDS * self.config["addition_time_embed_dim"]
        return int(self.config["projection_class_embeddings_input_dim"] - sizes)

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
        time: Mapping[str, Tensor],
        context: Tensor | None,
    ) -> Tensor:
        """What diffusers' own forward makes of M rows. time: the inputs of time_embedding."""
        given: dict[str, Any] = {}
        if context is not None:
            given["encoder_hidden_states"] = context
        if "guidance_scale" in time:
            given["timestep_cond"] = self.guidance_embedding(time["guidance_scale"])
        if "time_ids" in time:
            given["added_cond_kwargs"] = {name: time[name] for name in ("text_embeds", "time_ids")}
        return self.module(sample, time["timesteps"], **given).sample

    def guidance_embedding(self, guidance_scale: Tensor) -> Tensor:
        """The sinusoid of guidance scales [N], as diffusers' latent consistency pipeline has it."""
        from diffusers import LatentConsistencyModelPipeline  # takes a second that others need not

        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        return embed(None, guidance_scale - 1, embedding_dim=self.guidance_width)


class ConditionalUNet(UNet):
    """UNet2DConditionModel."""

    @property
    def whole_size(self) -> int:
        """1 where every upsampling block takes the size of what it is joined to."""
        takes_sizes = all(
            isinstance(up, UpBlock2D | CrossAttnUpBlock2D) for up in self.module.up_blocks
        )
        return 1 if takes_sizes else super().whole_size

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        check_conditional(config)
        model = UNet2DConditionModel.from_config(config)
        if not cross_attentions(model):
            named = ("down_block_types", "mid_block_type", "transformer_layers_per_block")
            given = ", ".join(f"{name} is {model.config[name]!r}" for name in named)
            raise ValueError(f"no layer attends to the text: {given}")
        return _check_size(ConditionalUNet(model))


class UnconditionalUNet(UNet):
    """UNet2DModel."""

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        check_unconditional(config)
        return _check_size(UnconditionalUNet(UNet2DModel.from_config(config)))


def _check_size(unet: UNet) -> nn.Module:
    """Its module; ValueError if diffusers cannot run it at its own size."""
    side, levels = unet.config["sample_size"], len(unet.config["block_out_channels"])
    if side < unet.min_size or side % unet.whole_size:
        raise ValueError(
            f"sample_size is {side}, but for {levels} levels of these blocks diffusers needs "
            f"a multiple of {unet.whole_size}, and at least {unet.min_size}"
        )
    module: nn.Module = unet.module
    return module


def downsamplers(unet: Any) -> list[nn.Module]:
    """The layers that halve heights and widths, in their order."""
    return [layer for block in unet.down_blocks for layer in block.downsamplers or ()]


def rounds_up(downsampler: nn.Module) -> bool:
    """Whether half of an odd size is rounded up, so that one pixel stays one."""
    return isinstance(downsampler, Downsample2D) and downsampler.padding == 1


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


def time_embeds_of(unet: UNet, time: Mapping[str, Tensor]) -> Tensor:
    """Every ResNet block's projection of the timesteps [N], side by side, by diffusers' layers.

    time: the inputs of time_embedding.
    """
    module = unet.module
    scale = time.get("guidance_scale")
    condition = None if scale is None else unet.guidance_embedding(scale)
    embedding = module.time_embedding(module.time_proj(time["timesteps"]), condition)
    if "time_ids" in time:
        embedding = embedding + module.get_aug_embed(embedding, None, time)
    activation = getattr(module, "time_embed_act", None)
    embedding = embedding if activation is None else activation(embedding)
    return torch.cat(
        [
            block.time_emb_proj(embedding if block.skip_time_act else block.nonlinearity(embedding))
            for block in resnet_blocks(module)
        ],
        dim=-1,
    )
