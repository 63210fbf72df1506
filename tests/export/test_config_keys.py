"""Every key of a configuration is honoured, harmless for a reason, or refused by name."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    LDMPipeline,
    LDMSuperResolutionPipeline,
    LDMTextToImagePipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from diffusers.training_utils import EMAModel
from torch import Tensor

from tests.checkpoints import edit_json
from trt_export.checkpoint.configs.keys import CONFIG_CLASSES, HARMLESS, known_settings, settings_of
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.schedules.schedulers import SCHEDULERS
from trt_export.networks.description import describe
from trt_pipeline.errors import CheckpointError

CELEBAHQ: dict[str, dict[str, Any]] = {
    "UNet2DModel": {
        "_class_name": "UNet2DModel",
        "_diffusers_version": "0.0.4",
        "act_fn": "silu",
        "attention_head_dim": 32,
        "block_out_channels": [224, 448, 672, 896],
        "center_input_sample": False,
        "down_block_types": [
            "DownBlock2D",
            "AttnDownBlock2D",
            "AttnDownBlock2D",
            "AttnDownBlock2D",
        ],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 3,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": 64,
        "time_embedding_type": "positional",
        "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    },
    "VQModel": {
        "_class_name": "VQModel",
        "_diffusers_version": "0.1.2",
        "act_fn": "silu",
        "block_out_channels": [128, 256, 512],
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "in_channels": 3,
        "latent_channels": 3,
        "layers_per_block": 2,
        "num_vq_embeddings": 8192,
        "out_channels": 3,
        "sample_size": 256,
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    },
    "DDIMScheduler": {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.0.4",
        "beta_end": 0.0195,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0015,
        "clip_sample": False,
        "timestep_values": None,
        "timesteps": 1000,
        "trained_betas": None,
    },
}
"""What CompVis/ldm-celebahq-256 holds, some of it under names that diffusers had for a month."""


@pytest.fixture
def checkpoint(plain_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(plain_checkpoint, tmp_path / "copy"))


def edit(checkpoint: Path, part: str, **changes: Any) -> None:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    edit_json(checkpoint / part / name, **changes)


@pytest.mark.parametrize("name", CELEBAHQ)
def test_published_configurations_are_known(name: str) -> None:
    known_settings(name, CELEBAHQ[name])


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("unet", "UNet2DConditionModel"),
        ("vqvae", "AutoencoderKL"),
        ("bert", "LDMBertModel"),
        ("scheduler", "DDIMScheduler"),
    ],
)
def test_a_key_that_nobody_knows_is_refused_by_name(checkpoint: Path, part: str, kind: str) -> None:
    edit(checkpoint, part, sharpness=[1, 2])
    message = (
        rf"{part}/.*config.json .*: sharpness is \[1, 2\], but it is not a setting of {kind} in"
    )
    with pytest.raises(CheckpointError, match=message):
        describe(open_checkpoint(str(checkpoint)))


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        (
            "UNet2DModel",
            {"_class_name": "VQModel"},
            "_class_name is 'VQModel', but model_index.json",
        ),
        (
            "UNet2DModel",
            {"cross_attention_dim": 8},
            "cross_attention_dim is 8, but it is not a set",
        ),
        (
            "UNet2DModel",
            {"quantization_config": {"bits": 8}},
            "quantized weights cannot be exported",
        ),
        ("UNet2DModel", {"_use_default_values": ["act_fn"]}, "diffusers takes its defaults"),
        ("UNet2DModel", {"auto_map": {"AutoModel": "mine.Model"}}, "auto_map is {'AutoModel'"),
        (
            "AutoencoderKL",
            {"ch_mult": [1, 2]},
            r"ch_mult is \[1, 2\], but it is not a setting of Aut",
        ),
        ("LDMBertModel", {"model_type": "bert"}, "model_type is 'bert': .*; only 'ldmbert' can be"),
        ("LDMBertModel", {"pruned_heads": {"0": [1]}}, "only {} or None can be exported"),
        ("LDMBertModel", {"transformers_weights": "a.safetensors"}, "names other files of weights"),
        (
            "LDMBertModel",
            {"per_layer_config": {"0": {}}},
            "per_layer_config is {'0': {}}, but it is",
        ),
        (
            "DDIMScheduler",
            {"timesteps": 500},
            "timesteps is 500: num_train_timesteps .*; only 1000 can",
        ),
        ("DDIMScheduler", {"predict_epsilon": False}, "only True can be exported"),
        ("DDIMScheduler", {"predict_epsilon": 1}, "only True can be exported"),
        ("DDIMScheduler", {"timestep_values": [9, 5]}, "only None can be exported"),
        ("DDIMScheduler", {"_use_default_values": ["beta_end"]}, r"only \[\] can be exported"),
    ],
)
def test_a_key_that_may_change_pictures_is_refused(
    name: str, setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        known_settings(name, setting)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("UNet2DModel", {"_name_or_path": "mine", "quantization_config": None}),
        ("LDMBertModel", {"name_or_path": "mine", "torch_dtype": "float16", "num_labels": 3}),
        ("LDMBertModel", {"hidden_size": 32, "num_attention_heads": 4}),
        ("DDIMScheduler", {"_class_name": "PNDMScheduler", "skip_prk_steps": True}),
        ("DDIMScheduler", {"shift": 3.0, "sigma_data": 0.5, "solver_order": 3}),
        ("PNDMScheduler", {"clip_predicted_image": True, "tensor_format": "np"}),
    ],
)
def test_a_key_that_changes_nothing_is_harmless(name: str, setting: dict[str, Any]) -> None:
    known_settings(name, setting)


def test_a_class_is_given_its_settings_only() -> None:
    config = {"d_model": 8, "hidden_size": 8, "num_labels": 10**9, "_name_or_path": "mine"}
    assert known_settings("LDMBertModel", config) == {"d_model": 8, "hidden_size": 8}


def test_other_names_of_a_text_encoder_s_settings_are_honoured() -> None:
    config = LDMBertConfig.from_dict({"d_model": 64, "hidden_size": 32})
    assert (config.d_model, settings_of("LDMBertModel") >= {"hidden_size"}) == (32, True)


def test_a_moving_average_that_was_saved_as_a_model_is_known(tmp_path: Path) -> None:
    unet = UNet2DModel(**UNET)
    EMAModel(unet.parameters(), model_cls=UNet2DModel, model_config=unet.config).save_pretrained(
        tmp_path
    )
    known_settings("UNet2DModel", json.loads((tmp_path / "config.json").read_text()))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers
@pytest.mark.parametrize("name", [*HARMLESS, *SCHEDULERS])
def test_what_today_s_libraries_write_is_known(name: str, tmp_path: Path) -> None:
    if name in CONFIG_CLASSES:
        CONFIG_CLASSES[name](num_labels=3, tie_word_embeddings=False).save_pretrained(tmp_path)
    else:
        kind = getattr(diffusers, name)
        given = {"UNet2DModel": UNET, "UNet2DConditionModel": CONDITIONAL}.get(name, {})
        kind(**given).save_config(tmp_path)
    known_settings(name, json.loads(next(tmp_path.glob("*.json")).read_text()))


SMALL: dict[str, Any] = {"block_out_channels": (8,), "norm_num_groups": 4, "layers_per_block": 1}
VAE: dict[str, Any] = {
    **SMALL,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
}
UNET: dict[str, Any] = {
    **SMALL,
    "down_block_types": ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",),
    "attention_head_dim": 4,
}
CONDITIONAL: dict[str, Any] = {
    **SMALL,
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
    "cross_attention_dim": 8,
    "attention_head_dim": 4,
}
BERT: dict[str, Any] = {
    "vocab_size": 50,
    "encoder_layers": 2,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "head_dim": 4,
    "d_model": 8,
}


def output(name: str, setting: dict[str, Any]) -> Tensor:
    """What diffusers' own module answers with a setting, by seeded weights and inputs."""
    torch.manual_seed(0)
    model: Any = {
        "AutoencoderKL": lambda: AutoencoderKL(**VAE, **setting),
        "VQModel": lambda: VQModel(**VAE, **setting),
        "UNet2DModel": lambda: UNet2DModel(**UNET, **setting),
        "UNet2DConditionModel": lambda: UNet2DConditionModel(**CONDITIONAL, **setting),
        "LDMBertModel": lambda: LDMBertModel(LDMBertConfig(**BERT | setting)),
    }[name]()
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    with torch.inference_mode():
        match name:
            case "AutoencoderKL" | "VQModel":
                found = model.decode(torch.randn(1, model.config.latent_channels, 8, 8)).sample
            case "UNet2DModel":
                found = model(torch.randn(1, 3, 8, 8), 5).sample
            case "UNet2DConditionModel":
                found = model(torch.randn(1, 4, 8, 8), 5, torch.randn(1, 7, 8)).sample
            case _:
                found = model(torch.arange(20)[None])[0]
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("AutoencoderKL", {"force_upcast": False}),
        ("AutoencoderKL", {"latents_mean": [1.0] * 4, "latents_std": [2.0] * 4}),
        ("AutoencoderKL", {"sample_size": 7}),
        ("AutoencoderKL", {"shift_factor": 0.5}),
        ("VQModel", {"force_upcast": True}),
        ("VQModel", {"sample_size": 7}),
        ("UNet2DModel", {"dropout": 0.5}),
        ("UNet2DConditionModel", {"dropout": 0.5}),
        ("LDMBertModel", {"scale_embedding": True}),
        ("LDMBertModel", {"dropout": 0.9, "attention_dropout": 0.9, "activation_dropout": 0.9}),
        ("LDMBertModel", {"encoder_layerdrop": 0.9, "classifier_dropout": 0.9}),
        ("LDMBertModel", {"init_std": 9.0, "use_cache": False, "pad_token_id": 3}),
        (
            "LDMBertModel",
            {"num_hidden_layers": 7, "is_decoder": True, "tie_word_embeddings": False},
        ),
        ("LDMBertModel", {"output_hidden_states": True, "output_attentions": True}),
        ("LDMBertModel", {"return_dict": False, "chunk_size_feed_forward": 2, "torchscript": True}),
        ("LDMBertModel", {"is_encoder_decoder": True, "add_cross_attention": True}),
    ],
)
def test_a_harmless_setting_changes_nothing_in_diffusers(
    name: str, setting: dict[str, Any]
) -> None:
    assert HARMLESS[name].keys() >= setting.keys()
    assert torch.equal(output(name, setting), output(name, {}))


def test_a_setting_that_is_not_harmless_would_show() -> None:
    changed = output("AutoencoderKL", {"act_fn": "relu"})
    assert not torch.equal(changed, output("AutoencoderKL", {}))


def test_no_reference_pipeline_reads_a_harmless_setting_of_its_first_stage() -> None:
    for pipeline in (LDMPipeline, LDMSuperResolutionPipeline, LDMTextToImagePipeline):
        source = inspect.getsource(pipeline)
        ignored = ("shift_factor", "latents_mean", "latents_std", "force_upcast")
        assert not [name for name in ignored if name in source]
