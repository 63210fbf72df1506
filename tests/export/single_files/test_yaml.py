"""YAML files beside single files of Stable Diffusion, and folders of configurations."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.compvis_checkpoints import State, write_config
from tests.single_files import (
    Both,
    assert_same_networks_of,
    change,
)
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.weights.loading import load_networks
from trt_pipeline.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' Euler ancestral scheduler gives it."""

UNET = "model.diffusion_model."
"""How the names of its weights begin."""


YAML: dict[str, Any] = {
    "target": "ldm.models.diffusion.ddpm.LatentDiffusion",
    "params": {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "first_stage_key": "jpg",
        "conditioning_key": "crossattn",
        "scale_factor": 0.18215,
        "use_ema": False,
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": {
                "use_checkpoint": True,
                "image_size": 32,
                "in_channels": 4,
                "out_channels": 4,
                "model_channels": 32,
                "attention_resolutions": [1],
                "num_res_blocks": 1,
                "channel_mult": [1, 2],
                "num_heads": 8,
                "use_spatial_transformer": True,
                "transformer_depth": 1,
                "context_dim": 64,
                "legacy": False,
            },
        },
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {
                "embed_dim": 4,
                "ddconfig": {
                    "double_z": True,
                    "z_channels": 4,
                    "resolution": 256,
                    "in_channels": 3,
                    "out_ch": 3,
                    "ch": 32,
                    "ch_mult": [1, 1, 1, 1],
                    "num_res_blocks": 1,
                    "attn_resolutions": [],
                    "dropout": 0.0,
                },
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
        "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"},
    },
}
"""As v1-inference.yaml, of the small model."""


CLIP = YAML["params"]["cond_stage_config"]


def write_yaml(path: Path, **changes: Any) -> Path:
    """YAML with other settings; a dotted name leads below model.params."""
    return write_config(path, YAML, **changes)


def test_a_yaml_with_the_file_s_name_is_taken(file: Path) -> None:
    write_yaml(file.with_suffix(".yaml"), parameterization="v", linear_end=0.02, scale_factor=0.2)
    found = open_checkpoint(str(file))
    scheduler = found.config("scheduler")
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["beta_end"] == 0.02
    assert found.config("vae")["scaling_factor"] == 0.2
    assert list(found.files)[:2] == ["model.safetensors", "config/model.yaml"]
    load_networks(found, "fp32")


def test_a_yaml_of_another_name_is_not_taken(file: Path) -> None:
    write_yaml(file.with_name("other.yaml"), parameterization="v")
    assert open_checkpoint(str(file)).config("scheduler")["prediction_type"] == "epsilon"


def test_a_yaml_tells_how_many_heads_there_are(file: Path) -> None:
    write_yaml(file.with_suffix(".yaml"), **{"unet_config.params.num_heads": 4})
    assert open_checkpoint(str(file)).config("unet")["attention_head_dim"] == 4


def average(state: State) -> None:
    """Add moving averages that are 1 where the weights are not."""
    for name in [name for name in state if name.startswith(UNET)]:
        average = "model_ema." + name.removeprefix("model.").replace(".", "")
        state[average] = torch.ones_like(state[name])


def test_a_yaml_may_ask_for_the_moving_averages(file: Path) -> None:
    change(file, average)
    write_yaml(file.with_suffix(".yaml"), use_ema=True)
    found = open_checkpoint(str(file))
    assert float(load_networks(found, "fp32").unet.module.conv_in.weight.detach().min()) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameterization": "x0"}, "parameterization is 'x0', expected eps or v"),
        ({"scale_by_std": True}, "scale_by_std is True"),
        ({"frobnicate": 1}, "model.params has an unknown entry 'frobnicate'"),
        (
            {"cond_stage_config": {"target": "x.FrozenOpenCLIPEmbedder"}},
            "layer is 'last', expected 'penultimate'",
        ),
        (
            {
                "cond_stage_config": {
                    "target": "x.FrozenOpenCLIPEmbedder",
                    "params": {"layer": "penultimate"},
                }
            },
            "is of Stable Diffusion 2.x, but the weights are Stable Diffusion 1.x's",
        ),
        ({"cond_stage_config": {"target": "x.BERTEmbedder"}}, "only FrozenCLIPEmbedder or"),
        (
            {
                "cond_stage_config": {
                    "target": "x.FrozenCLIPEmbedder",
                    "params": {"layer": "hidden"},
                }
            },
            "layer is 'hidden', expected 'last'",
        ),
        ({"cond_stage_config": {**CLIP, "params": 3}}, "params is 3"),
    ],
)
def test_a_yaml_that_cannot_be_exported_is_refused_by_name(
    file: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(file), config=write_yaml(file.with_name("v1.yaml"), **changes))


def test_a_yaml_of_other_sizes_is_refused(file: Path) -> None:
    changed = write_yaml(file.with_suffix(".yaml"), **{"unet_config.params.context_dim": 32})
    with pytest.raises(CheckpointError, match=r"has shape .*, but its configuration asks for"):
        load_networks(open_checkpoint(str(file), config=changed), "fp32")


def test_a_dry_run_counts_the_weights_of_a_single_file(file: Path, tmp_path: Path) -> None:
    weights = load_file(file)
    lost = "first_stage_model.post_quant_conv.bias"
    weights.pop(lost)
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"1 missing \(first: post_quant_conv.bias\)"):
        describe(open_checkpoint(str(path)))


XL_YAML: dict[str, Any] = {
    "target": "sgm.models.diffusion.DiffusionEngine",
    "params": {
        "scale_factor": 0.13025,
        "disable_first_stage_autocast": True,
        "denoiser_config": {
            "target": "sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser",
            "params": {
                "num_idx": 1000,
                "scaling_config": {"target": "sgm.x.denoiser_scaling.VScaling"},
                "discretization_config": {"target": "sgm.x.LegacyDDPMDiscretization"},
            },
        },
        "network_config": {
            "target": "sgm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": {
                "adm_in_channels": 144,
                "num_classes": "sequential",
                "use_checkpoint": True,
                "in_channels": 4,
                "out_channels": 4,
                "model_channels": 64,
                "attention_resolutions": [2],
                "num_res_blocks": 1,
                "channel_mult": [1, 2],
                "num_head_channels": 64,
                "use_linear_in_transformer": True,
                "use_spatial_transformer": True,
                "transformer_depth": [1, 2],
                "context_dim": 192,
                "spatial_transformer_attn_type": "softmax-xformers",
            },
        },
        "conditioner_config": {
            "target": "sgm.modules.GeneralConditioner",
            "params": {
                "emb_models": [
                    {"target": "x.FrozenCLIPEmbedder", "params": {"layer": "hidden"}},
                    {"target": "x.FrozenOpenCLIPEmbedder2", "params": {"legacy": False}},
                    *[{"target": "x.ConcatTimestepEmbedderND", "params": {"outdim": 8}}] * 3,
                ]
            },
        },
        "first_stage_config": {
            "target": "sgm.models.autoencoder.AutoencoderKL",
            "params": {
                "embed_dim": 4,
                "monitor": "val/rec_loss",
                "ddconfig": {
                    **YAML["params"]["first_stage_config"]["params"]["ddconfig"],
                    "attn_type": "vanilla-xformers",
                },
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
    },
}
"""As sd_xl_base.yaml, of the small model, and with v-prediction."""


def test_a_yaml_of_stability_s_engine_is_taken(xl: Both, tmp_path: Path) -> None:
    path = tmp_path / "xl.yaml"
    path.write_text(yaml.safe_dump({"model": XL_YAML}))
    found = open_checkpoint(str(xl[1]), config=path)
    assert found.config("scheduler")["prediction_type"] == "v_prediction"
    assert_same_networks_of(open_checkpoint(str(xl[0])), found)


def test_an_engine_with_another_denoiser_is_refused(xl: Both, tmp_path: Path) -> None:
    text = yaml.safe_dump({"model": XL_YAML}).replace("VScaling", "EDMScaling")
    (tmp_path / "xl.yaml").write_text(text)
    with pytest.raises(CheckpointError, match="EDMScaling'; only EpsScaling or VScaling can be"):
        open_checkpoint(str(xl[1]), config=tmp_path / "xl.yaml")
