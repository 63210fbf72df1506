"""Configurations as published repositories of Stable Diffusion have them, beside small weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import edit_json
from tests.stable_diffusion import (
    ONE_LEVEL,
    make_inpaint,
    make_instruct_pix2pix,
    make_latent_consistency,
    make_stable_diffusion,
    make_stable_diffusion_2,
    make_turbo,
)
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.networks.description import Description, describe
from trt_export.twin import PUBLISHED
from trt_pipeline.errors import CheckpointError

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Config = dict[str, Any]

TOKEN = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
CHECKER = ["stable_diffusion", "StableDiffusionSafetyChecker"]
INDEX: Config = {
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "requires_safety_checker": True,
    "safety_checker": CHECKER,
}
NO_CHECKER: Config = {
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
}
BETAS: Config = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "trained_betas": None,
}
PNDM: Config = {"skip_prk_steps": True, "set_alpha_to_one": False, **BETAS}
UNET: Config = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "center_input_sample": False,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
}
"""What every published UNet says, and nothing more in those of October 2022."""
UNET_0_12: Config = {
    **UNET,
    "_diffusers_version": "0.12.0.dev0",
    "class_embed_type": None,
    "dual_cross_attention": False,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "upcast_attention": False,
    "use_linear_projection": False,
}
UNET_0_22: Config = {
    **UNET_0_12,
    "_diffusers_version": "0.22.0.dev0",
    "_name_or_path": "SimianLuo/LCM_Dreamshaper_v7",
    "addition_embed_type": None,
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": None,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "dropout": 0.0,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "mid_block_only_cross_attention": None,
    "num_attention_heads": None,
    "projection_class_embeddings_input_dim": None,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "reverse_transformer_layers_per_block": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "upcast_attention": None,
}
VAE: Config = {"_class_name": "AutoencoderKL", "act_fn": "silu", "in_channels": 3}
VAE_0_22: Config = {
    **VAE,
    "_diffusers_version": "0.22.0.dev0",
    "_name_or_path": "vae",
    "force_upcast": True,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
VAE_0_30: Config = {
    **VAE_0_22,
    "latents_mean": None,
    "latents_std": None,
    "mid_block_add_attention": True,
    "shift_factor": None,
    "use_post_quant_conv": True,
    "use_quant_conv": True,
}
CLIP: Config = {
    "_name_or_path": "openai/clip-vit-large-patch14",
    "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    "eos_token_id": 2,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "pad_token_id": 1,
    "projection_dim": 768,
    "torch_dtype": "float16",
    "transformers_version": "4.22.0.dev0",
}
CLIP_OF_A_WHOLE_CONFIG: Config = {
    **CLIP,
    "transformers_version": "4.19.2",
    **dict.fromkeys(
        (
            "add_cross_attention",
            "do_sample",
            "early_stopping",
            "is_decoder",
            "is_encoder_decoder",
            "output_attentions",
            "output_hidden_states",
            "output_scores",
            "remove_invalid_values",
            "return_dict_in_generate",
            "tie_encoder_decoder",
            "torchscript",
            "use_bfloat16",
        ),
        False,
    ),
    **dict.fromkeys(
        (
            "bad_words_ids",
            "cross_attention_hidden_size",
            "decoder_start_token_id",
            "exponential_decay_length_penalty",
            "finetuning_task",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "prefix",
            "problem_type",
            "sep_token_id",
            "task_specific_params",
            "tokenizer_class",
        )
    ),
    "chunk_size_feed_forward": 0,
    "diversity_penalty": 0.0,
    "encoder_no_repeat_ngram_size": 0,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "pruned_heads": {},
    "repetition_penalty": 1.0,
    "return_dict": True,
    "temperature": 1.0,
    "tie_word_embeddings": True,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
}
"""transformers 4.1x wrote every setting of a model's section."""
MAKERS: Mapping[str, Any] = {
    "stable-diffusion-v1-5": make_stable_diffusion,
    "stable-diffusion-2-1": make_stable_diffusion_2,
    "sd-turbo": make_turbo,
    "LCM_Dreamshaper_v7": make_latent_consistency,
    "stable-diffusion-inpainting": make_inpaint,
    "instruct-pix2pix": make_instruct_pix2pix,
}
REPOSITORIES: Mapping[str, Mapping[str, Config]] = {
    "stable-diffusion-v1-5": {
        "model_index": INDEX,
        "scheduler/scheduler_config": {"_diffusers_version": "0.6.0", **PNDM},
        "unet/config": {**UNET, "_diffusers_version": "0.6.0"},
        "vae/config": {**VAE, "_diffusers_version": "0.6.0", "sample_size": 512},
        "text_encoder/config": CLIP_OF_A_WHOLE_CONFIG,
    },
    "stable-diffusion-2-1": {
        "model_index": {**NO_CHECKER, "feature_extractor": INDEX["feature_extractor"]},
        "scheduler/scheduler_config": {"prediction_type": "v_prediction", **PNDM},
        "unet/config": {
            **UNET_0_12,
            "upcast_attention": True,
            "use_linear_projection": True,
        },
        "vae/config": {**VAE, "_diffusers_version": "0.10.0.dev0", "sample_size": 768},
        "text_encoder/config": {**CLIP, "transformers_version": "4.25.0.dev0"},
    },
    "sd-turbo": {
        "model_index": NO_CHECKER,
        "scheduler/scheduler_config": {
            "interpolation_type": "linear",
            "prediction_type": "epsilon",
            "sigma_max": None,
            "sigma_min": None,
            "timestep_spacing": "trailing",
            "timestep_type": "discrete",
            "use_karras_sigmas": False,
            **PNDM,
        },
        "unet/config": {**UNET_0_22, "use_linear_projection": False},
        "vae/config": VAE_0_30,
        "text_encoder/config": {**CLIP, "transformers_version": "4.36.0.dev0"},
    },
    "LCM_Dreamshaper_v7": {
        "model_index": INDEX,
        "scheduler/scheduler_config": {
            **BETAS,
            "clip_sample_range": 1.0,
            "dynamic_thresholding_ratio": 0.995,
            "original_inference_steps": 50,
            "prediction_type": "epsilon",
            "rescale_betas_zero_snr": False,
            "sample_max_value": 1.0,
            "set_alpha_to_one": True,
            "steps_offset": 0,
            "thresholding": False,
            "timestep_spacing": "leading",
        },
        "unet/config": {**UNET_0_22, "time_cond_proj_dim": 24},
        "vae/config": VAE_0_22,
        "text_encoder/config": {**CLIP, "transformers_version": "4.34.0.dev0"},
    },
    "stable-diffusion-inpainting": {
        "model_index": {**INDEX, "feature_extractor": ["transformers", "CLIPFeatureExtractor"]},
        "scheduler/scheduler_config": PNDM,
        "unet/config": {**UNET, "_diffusers_version": "0.6.0.dev0", "sample_size": 64},
        "vae/config": {**VAE, "_diffusers_version": "0.6.0.dev0", "sample_size": 256},
        "text_encoder/config": CLIP,
    },
    "instruct-pix2pix": {
        "model_index": INDEX,
        "scheduler/scheduler_config": {"prediction_type": "epsilon", **PNDM},
        "unet/config": UNET_0_12,
        "vae/config": {**VAE, "_diffusers_version": "0.12.0.dev0", "scaling_factor": 0.18215},
        "text_encoder/config": {**CLIP, "transformers_version": "4.26.0.dev0"},
    },
}
SIZES = {
    "_class_name",
    "attention_head_dim",
    "block_out_channels",
    "cross_attention_dim",
    "down_block_types",
    "hidden_act",
    "hidden_size",
    "in_channels",
    "intermediate_size",
    "layers_per_block",
    "norm_num_groups",
    "num_attention_heads",
    "num_hidden_layers",
    "sample_size",
    "up_block_types",
    "vocab_size",
}
"""Entries of a small checkpoint that stay where a published configuration has others, or none."""
BESIDE = (
    "README.md",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/config.json",
    "safety_checker/flax_model.msgpack",
    "safety_checker/pytorch_model.bin",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.onnx",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.bin",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "v1-5-pruned.ckpt",
    "vae/diffusion_flax_model.msgpack",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)
"""Other files of such repositories, which are not read."""


def published(folder: Path, name: str, **changes: Config) -> Path:
    """A small checkpoint whose configurations say what the published ones do."""
    MAKERS[name](folder)
    for file, config in REPOSITORIES[name].items():
        path = folder / f"{file}.json"
        own = json.loads(path.read_text())
        keep = SIZES if file.endswith("/config") else own.keys()
        if file.startswith("scheduler"):
            keep = {"_class_name"}
        kept = {key: own[key] for key in keep & own.keys()}
        path.write_text(json.dumps({**config, **kept, **(config if file == "model_index" else {})}))
    for file, change in changes.items():
        edit_json(folder / f"{file}.json", **change)
    for beside in BESIDE:
        (folder / beside).parent.mkdir(exist_ok=True)
        (folder / beside).write_bytes(b"")
    return folder


def described(folder: Path) -> Description:
    return describe(open_checkpoint(str(folder)))


@pytest.mark.parametrize(
    ("name", "family", "steps", "guidance_scale", "sampler"),
    [
        ("stable-diffusion-v1-5", "stable_diffusion", 50, 7.5, "pndm"),
        ("stable-diffusion-2-1", "stable_diffusion", 50, 7.5, "ddim"),
        ("sd-turbo", "stable_diffusion", 1, 1.0, "euler"),
        ("LCM_Dreamshaper_v7", "latent_consistency", 4, 8.5, "lcm"),
        ("stable-diffusion-inpainting", "stable_diffusion_inpaint", 50, 7.5, "pndm"),
        ("instruct-pix2pix", "instruct_pix2pix", 100, 7.5, "euler_ancestral"),
    ],
)
def test_a_published_repository_is_described(
    name: str, family: str, steps: int, guidance_scale: float, sampler: str, tmp_path: Path
) -> None:
    found = described(published(tmp_path / "checkpoint", name))
    assert found.model.family == family
    assert found.defaults.num_inference_steps == steps
    assert found.defaults.guidance_scale == guidance_scale
    assert found.defaults.sampler == sampler
    assert found.model.guides_above_1_only == (family != "latent_consistency")


@pytest.mark.parametrize("published_model", ["stable_diffusion_1_5", "stable_diffusion_2_1"])
def test_the_configurations_of_a_twin_are_those_that_a_small_checkpoint_may_have(
    published_model: str, tmp_path: Path
) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint")
    config = json.loads((PUBLISHED / published_model / "unet" / "config.json").read_text())
    own = json.loads((folder / "unet" / "config.json").read_text())
    same = {key: own[key] for key in SIZES & own.keys()} | {"use_linear_projection": False}
    (folder / "unet" / "config.json").write_text(json.dumps({**config, **same}))
    assert described(folder).defaults.num_inference_steps == 50


def test_a_default_sample_size_of_the_first_releases_is_corrected_as_diffusers_does(
    tmp_path: Path,
) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint", **ONE_LEVEL)
    edit_json(folder / "unet" / "config.json", _diffusers_version="0.6.0", sample_size=32)
    assert described(folder).defaults.height == 512
    edit_json(folder / "unet" / "config.json", _diffusers_version="0.9.0", sample_size=32)
    assert described(folder).defaults.height == 256


def test_outdated_settings_of_schedulers_are_corrected_as_diffusers_does(tmp_path: Path) -> None:
    folder = make_stable_diffusion_2(tmp_path / "checkpoint")
    edit_json(folder / "scheduler" / "scheduler_config.json", steps_offset=0, clip_sample=True)
    assert described(folder).schedule.steps_offset == 1


def test_what_diffusers_does_not_correct_is_refused(tmp_path: Path) -> None:
    folder = make_instruct_pix2pix(tmp_path / "checkpoint")
    edit_json(folder / "model_index.json", scheduler=["diffusers", "DDIMScheduler"])
    edit_json(folder / "scheduler" / "scheduler_config.json", clip_sample=True)
    edit_json(folder / "scheduler" / "scheduler_config.json", _class_name="DDIMScheduler")
    with pytest.raises(CheckpointError, match="clip_sample is true"):
        described(folder)


@pytest.mark.parametrize(
    "pipeline",
    [
        "StableDiffusionControlNetPipeline",
        "StableDiffusionDepth2ImgPipeline",
        "StableDiffusionGLIGENPipeline",
        "StableDiffusionLatentUpscalePipeline",
        "StableDiffusionUpscalePipeline",
        "StableUnCLIPPipeline",
    ],
)
def test_other_pipelines_are_refused_by_name(pipeline: str, tmp_path: Path) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint")
    edit_json(folder / "model_index.json", _class_name=pipeline)
    with pytest.raises(CheckpointError, match=f"is a {pipeline}; only .* can be exported"):
        open_checkpoint(str(folder))
