"""Models: the three networks of the embedded checkpoint, at a size that the shapes need."""

from dataclasses import dataclass, replace
from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from torch import nn

from trt_export.checkpoint.tokenizers.description import read_tokenizer
from trt_export.shapes.scenes import SIDE
from trt_pipeline.text.tokenizer import Tokenizer
from trt_pipeline.text.vocabulary import read_vocabulary

VOCABULARY = Path(__file__).with_name("vocab.txt")
"""About 1,000 entries of bert-base-uncased's vocabulary, in its order."""
MAX_TOKENS = 77
LATENT_CHANNELS = 4
LATENT_SIDE = SIDE // 8


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Widths and depths of the networks."""

    vae_channels: tuple[int, int, int, int]
    """Channels at 1/1, 1/2, 1/4 and 1/8 of the picture's side."""
    vae_norm_groups: int
    unet_channels: tuple[int, int]
    """Channels at the latents' full and half side."""
    unet_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    text_feed_forward: int


EMBEDDED = ModelSize(
    vae_channels=(16, 32, 48, 64),
    vae_norm_groups=8,
    unet_channels=(64, 128),
    unet_heads=4,
    text_width=128,
    text_layers=3,
    text_heads=4,
    text_feed_forward=256,
)
"""The embedded checkpoint's: 5.8 million parameters."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The three that a checkpoint holds."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    bert: LDMBertModel

    @classmethod
    def untrained(cls, size: ModelSize) -> "Networks":
        """Of random weights, from torch's own generator."""
        return cls(build_vae(size), build_unet(size), build_bert(size))


def build_vae(size: ModelSize) -> AutoencoderKL:
    """Images [B, 3, H, W] in -1..1 to latents [B, 4, H/8, W/8] and back."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=size.vae_channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=size.vae_norm_groups,
        sample_size=SIDE,
    )


def build_unet(size: ModelSize) -> UNet2DConditionModel:
    """Noise prediction from latents [B, 4, h, w], timesteps and text states [B, 77, width]."""
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        block_out_channels=size.unet_channels,
        layers_per_block=1,
        attention_head_dim=size.unet_heads,
        cross_attention_dim=size.text_width,
    )
    _zero_residual_branches(unet)
    return unet


def _zero_residual_branches(unet: UNet2DConditionModel) -> None:
    # A network that starts as the identity takes three times the learning rate.
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def build_bert(size: ModelSize) -> LDMBertModel:
    """Text states [B, 77, width] from input_ids [B, 77]."""
    return LDMBertModel(
        LDMBertConfig(
            vocab_size=len(read_vocabulary(VOCABULARY)),
            max_position_embeddings=MAX_TOKENS,
            encoder_layers=size.text_layers,
            encoder_ffn_dim=size.text_feed_forward,
            encoder_attention_heads=size.text_heads,
            head_dim=size.text_width // size.text_heads,
            d_model=size.text_width,
            dropout=0.0,
        )
    )


def build_tokenizer() -> Tokenizer:
    """Lower-case word pieces, as the published checkpoint's."""
    vocab_size = len(read_vocabulary(VOCABULARY))
    described = read_tokenizer("wordpiece", {"vocab.txt": VOCABULARY}, MAX_TOKENS, vocab_size)
    return Tokenizer(VOCABULARY.parent, replace(described.spec, files={"vocab": VOCABULARY.name}))


def build_scheduler() -> DDIMScheduler:
    """The published checkpoint's noise schedule."""
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False)
