"""Settings of diffusers' networks that are refused by name, before anything is exported."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig
from torch import Tensor, nn

from tests.architectures import PLAIN, TEXT, blocks, write
from trt_export.families import Role
from trt_export.networks.autoencoders.autoencoder import KLAutoencoder
from trt_export.networks.autoencoders.settings import KL, VQ
from trt_export.networks.settings import HARMLESS, Rules, settings_of
from trt_export.networks.shape_check import check_shapes
from trt_export.networks.texts.ldm_bert import SETTINGS
from trt_export.networks.unets.settings import CONDITIONAL, UNCONDITIONAL
from trt_export.networks.weights.loading import empty_networks
from trt_pipeline.errors import CheckpointError

REFUSED: list[tuple[str, Role, dict[str, Any], str]] = [
    (TEXT, "unet", {"act_fn": "tanh"}, "act_fn is 'tanh'; only 'silu', 'swish', 'mish', 'gelu' or"),
    (TEXT, "unet", {"addition_embed_type": "text"}, "addition_embed_type is 'text'; only None or"),
    (TEXT, "unet", {"attention_head_dim": None}, "attention_head_dim is None; only a whole number"),
    (TEXT, "unet", {"attention_head_dim": [2]}, "attention_head_dim has 1 values, expected 2: one"),
    (TEXT, "unet", {"attention_head_dim": 64}, "attention_head_dim is 64: diffusers takes it for"),
    (TEXT, "unet", {"attention_type": "gated"}, "attention_type is 'gated'; only 'default' can"),
    (TEXT, "unet", {"block_out_channels": []}, r"block_out_channels is \[\]; only a list"),
    (TEXT, "unet", {"block_out_channels": [8, 0]}, r"block_out_channels is \[8, 0\]; only a list"),
    (
        TEXT,
        "unet",
        {"block_out_channels": 8},
        "block_out_channels is 8; only a list of 1 to 8 values",
    ),
    (TEXT, "unet", {"block_out_channels": [8]}, "down_block_types has 2 values, expected 1: one"),
    (TEXT, "unet", {"center_input_sample": True}, "center_input_sample is True; only False can"),
    (TEXT, "unet", {"class_embeddings_concat": True}, "class_embeddings_concat is True; only Fal"),
    (TEXT, "unet", {"class_embed_type": "identity"}, "class_embed_type is 'identity'; only None"),
    (TEXT, "unet", {"conv_in_kernel": 2}, "conv_in_kernel is 2; only an odd whole number from 1"),
    (TEXT, "unet", {"conv_out_kernel": -1}, "conv_out_kernel is -1; only an odd whole number"),
    (TEXT, "unet", {"cross_attention_dim": None}, "cross_attention_dim is None; only a whole num"),
    (TEXT, "unet", {"cross_attention_dim": [16]}, "cross_attention_dim has 1 values, expected 2"),
    (TEXT, "unet", {"cross_attention_norm": "layer_norm"}, "cross_attention_norm is 'layer_norm'"),
    (TEXT, "unet", {"downsample_padding": 2}, "downsample_padding is 2; only 1 or 0 can be"),
    (TEXT, "unet", {"dropout": 1.5}, "dropout is 1.5; only a number from 0 to 1 can be exported"),
    (TEXT, "unet", {"dual_cross_attention": True}, "dual_cross_attention is True; only False can"),
    (TEXT, "unet", {"encoder_hid_dim": 16}, "encoder_hid_dim is 16; only None can be exported"),
    (TEXT, "unet", {"flip_sin_to_cos": 1}, "flip_sin_to_cos is 1; only False or True can be"),
    (TEXT, "unet", {"freq_shift": "1"}, "freq_shift is '1'; only a number from 0 to 1 can be"),
    (TEXT, "unet", {"layers_per_block": 0}, "layers_per_block is 0; only a whole number from 1"),
    (TEXT, "unet", {"layers_per_block": [1]}, "layers_per_block has 1 values, expected 2: one"),
    (TEXT, "unet", {"mid_block_scale_factor": 0}, "mid_block_scale_factor is 0; only a positive"),
    (TEXT, "unet", {"norm_eps": -1e-5}, "norm_eps is -1e-05; only a positive number can be"),
    (TEXT, "unet", {"norm_num_groups": None}, "norm_num_groups is None; only a whole number from"),
    (TEXT, "unet", {"norm_num_groups": 3}, "norm_num_groups is 3, but not all channels are div"),
    (TEXT, "unet", {"num_attention_heads": 2}, "num_attention_heads is 2; only None can be"),
    (TEXT, "unet", {"num_class_embeds": 10}, "num_class_embeds is 10; only None can be exported"),
    (TEXT, "unet", {"only_cross_attention": [True]}, "only_cross_attention has 1 values, expected"),
    (TEXT, "unet", {"resnet_time_scale_shift": "ada_group"}, "resnet_time_scale_shift is 'ada_"),
    (TEXT, "unet", {"sample_size": [8, 8]}, r"sample_size is \[8, 8\]; only a whole number from"),
    (TEXT, "unet", {"sample_size": None}, "sample_size is None; only a whole number from 4 to"),
    (TEXT, "unet", {"sample_size": 1}, "sample_size is 1; only a whole number from 4 to 1024 can"),
    (TEXT, "unet", {"time_embedding_type": "fourier"}, "time_embedding_type is 'fourier'; only"),
    (TEXT, "unet", {"timestep_post_act": "tanh"}, "timestep_post_act is 'tanh'; only 'silu'"),
    (TEXT, "unet", {"transformer_layers_per_block": [[1], [1]]}, "reverse_transformer_layers_per"),
    (
        TEXT,
        "unet",
        {
            "transformer_layers_per_block": [[1, 1], [1]],
            "reverse_transformer_layers_per_block": [[1, 1], [1, 1]],
        },
        "transformer_layers_per_block has 2 values for a level with 1 ResNet blocks",
    ),
    (TEXT, "unet", {"transformer_layers_per_block": 0}, "no layer attends to the text: .*block is"),
    (
        TEXT,
        "unet",
        {**blocks(["DownBlock2D"] * 2, ["UpBlock2D"] * 2), "mid_block_type": "UNetMidBlock2D"},
        "no layer attends to the text: .* mid_block_type is 'UNetMidBlock2D'",
    ),
    (
        TEXT,
        "unet",
        blocks(["SimpleCrossAttnDownBlock2D", "DownBlock2D"], ["UpBlock2D"] * 2),
        r"down_block_types is \['SimpleCrossAttnDownBlock2D', .*; only a list of 'DownBlock2D'",
    ),
    (
        TEXT,
        "unet",
        {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"},
        "mid_block_type is 'UNetMidBlock2DSimpleCrossAttn'; only 'UNetMidBlock2DCrossAttn', ",
    ),
    (
        TEXT,
        "unet",
        blocks(["KDownBlock2D", "CrossAttnDownBlock2D"], ["UpBlock2D"] * 2),
        "down_block_types is .*KDownBlock2D",
    ),
    (
        PLAIN,
        "unet",
        {"attention_head_dim": [4, 4]},
        r"attention_head_dim is \[4, 4\]; only a whole",
    ),
    (PLAIN, "unet", {"attention_head_dim": 32}, "attention_head_dim is 32, but a level with att"),
    (PLAIN, "unet", {"attn_norm_num_groups": 3}, "attn_norm_num_groups is 3, but not all channels"),
    (PLAIN, "unet", {"down_block_types": "DownBlock2D"}, "down_block_types is 'DownBlock2D'; only"),
    (PLAIN, "unet", {"down_block_types": ["DownBlock2D"]}, "down_block_types has 1 values, expec"),
    (
        PLAIN,
        "unet",
        {"downsample_type": "fir"},
        "downsample_type is 'fir'; only 'conv' or 'resnet'",
    ),
    (
        PLAIN,
        "unet",
        {"layers_per_block": [1, 1]},
        r"layers_per_block is \[1, 1\]; only a whole num",
    ),
    (
        PLAIN,
        "unet",
        {"mid_block_type": "Other"},
        "mid_block_type is 'Other'; only 'UNetMidBlock2D'",
    ),
    (PLAIN, "unet", {"sample_size": 9}, "sample_size is 9, but for 2 levels .* a multiple of 2"),
    (PLAIN, "unet", {"time_embedding_type": "learned"}, "time_embedding_type is 'learned'; only"),
    (PLAIN, "unet", {"up_block_types": ["SkipUpBlock2D"] * 2}, "up_block_types is .*SkipUpBlock2D"),
    (PLAIN, "unet", {"upsample_type": "sde_vp"}, "upsample_type is 'sde_vp'; only 'conv' or"),
    (PLAIN, "vae", {"act_fn": None}, "act_fn is None; only 'silu', 'swish', 'mish', 'gelu' or"),
    (PLAIN, "vae", {"in_channels": 1}, "in_channels is 1; only 3 can be exported"),
    (PLAIN, "vae", {"latent_channels": 0}, "latent_channels is 0; only a whole number from 1 to"),
    (PLAIN, "vae", {"lookup_from_codebook": True}, "lookup_from_codebook is True; only False can"),
    (PLAIN, "vae", {"norm_type": "spatial"}, "norm_type is 'spatial'; only 'group' can be"),
    (PLAIN, "vae", {"num_vq_embeddings": 0}, "num_vq_embeddings is 0; only a whole number from 1"),
    (PLAIN, "vae", {"vq_embed_dim": "3"}, "vq_embed_dim is '3'; only a whole number from 1"),
    (TEXT, "vae", {"block_out_channels": [8] * 3}, "down_block_types has 2 values, expected 3"),
    (TEXT, "vae", {"down_block_types": ["DownBlock2D"] * 2}, "down_block_types is .*'DownBlock2D'"),
    (TEXT, "vae", {"layers_per_block": [1, 1]}, r"layers_per_block is \[1, 1\]; only a whole num"),
    (TEXT, "vae", {"norm_num_groups": 3}, "norm_num_groups is 3, but not all channels are div"),
    (TEXT, "vae", {"out_channels": 4}, "out_channels is 4; only 3 can be exported"),
    (TEXT, "vae", {"sample_size": None}, "sample_size is None; only a whole number from 1 to"),
    (TEXT, "vae", {"scaling_factor": "1"}, "scaling_factor is '1'; only a positive number can"),
    (TEXT, "vae", {"use_quant_conv": 0}, "use_quant_conv is 0; only False or True can be"),
    (TEXT, "text_encoder", {"activation_function": "tanh"}, "activation_function is 'tanh'; only"),
    (TEXT, "text_encoder", {"d_model": 0}, "d_model is 0; only a whole number from 1 to"),
    (TEXT, "text_encoder", {"dropout": 2}, "dropout is 2; only a number from 0 to 1 can be"),
    (TEXT, "text_encoder", {"encoder_attention_heads": -1}, "encoder_attention_heads is -1; only"),
    (TEXT, "text_encoder", {"encoder_layers": 0}, "encoder_layers is 0; only a whole number from"),
    (TEXT, "text_encoder", {"head_dim": 8.0}, "head_dim is 8.0; only a whole number from 1 to"),
    (TEXT, "text_encoder", {"vocab_size": None}, "vocab_size is None; only a whole number from 1"),
]
BEYOND_FLOATS = [
    ("unet", "norm_eps"),
    ("unet", "mid_block_scale_factor"),
    ("unet", "resnet_out_scale_factor"),
    ("unet", "dropout"),
    ("unet", "freq_shift"),
    ("unet", "layers_per_block"),
    ("unet", "sample_size"),
    ("vae", "scaling_factor"),
    ("vae", "latent_channels"),
    ("text_encoder", "attention_dropout"),
    ("text_encoder", "encoder_layers"),
]


@pytest.mark.parametrize(("role", "name"), BEYOND_FLOATS)
def test_a_number_beyond_floats_is_refused_and_cut(role: Role, name: str, tmp_path: Path) -> None:
    checkpoint = write(tmp_path, TEXT, {role: {name: 10**400}})
    with pytest.raises(CheckpointError, match=f"{name}.* [12]0{{79}}[^0]") as error:
        empty_networks(checkpoint)
    assert "0" * 80 not in str(error.value)


@pytest.mark.parametrize(("family", "role", "change", "message"), REFUSED)
def test_any_other_setting_is_refused_by_name(
    family: str, role: Role, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    checkpoint = write(tmp_path, family, {role: change})
    with pytest.raises(CheckpointError, match=message):
        empty_networks(checkpoint)


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (UNet2DConditionModel, CONDITIONAL),
        (UNet2DModel, UNCONDITIONAL),
        (AutoencoderKL, KL),
        (VQModel, VQ),
        (LDMBertConfig, SETTINGS),
    ],
)
def test_every_setting_of_a_class_has_a_rule(kind: type, rules: Rules) -> None:
    assert settings_of(kind).keys() == rules.keys()


def test_the_page_on_architectures_names_every_setting_that_can_be_wrong() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/architectures.md").read_text()
    found = set(re.findall(r"`(\w+)`", page))
    for rules in (CONDITIONAL, UNCONDITIONAL, KL, VQ):
        named = {name for name, rule in rules.items() if rule is not HARMLESS}
        assert named <= found


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # of no head
def test_what_no_rule_foresees_is_refused_with_diffusers_words(tmp_path: Path) -> None:
    up = ["CrossAttnUpBlock2D", "AttnUpBlock2D"]
    change = {**blocks(["CrossAttnDownBlock2D"] * 2, up), "attention_head_dim": [2, 16]}
    checkpoint = write(tmp_path, TEXT, {"unet": change})
    with pytest.raises(CheckpointError, match=r"unet/config.json: diffusers cannot run it \("):
        check_shapes(checkpoint, empty_networks(checkpoint))


class Cropping(KLAutoencoder):
    """Its decoder's graph would not be what diffusers has."""

    def decoder(self) -> nn.Module:
        return Cropped(super().decoder())


class Cropped(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.decoder(latents)[:, 1:]
        return image


def test_a_graph_of_another_shape_is_refused(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, TEXT, {})
    networks = empty_networks(checkpoint)
    cropping = replace(networks, vae=Cropping(networks.vae.module))
    expected = r"vqvae/config.json: decoder cannot be exported \(image is .* but diffusers has"
    with pytest.raises(CheckpointError, match=expected):
        check_shapes(checkpoint, cropping)
