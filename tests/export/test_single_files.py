"""Stable Diffusion as users share it: one file, without a YAML."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from diffusers import AutoencoderTiny, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from tests.checkpoints import edit_json
from tests.compvis_checkpoints import State
from tests.shared import once
from tests.single_files import Generation, make_folder, original_state, write_single_file
from trt_export import twin
from trt_export.checkpoint.config_keys import known_settings
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.model_index import family_of
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.single_files.generations import generation_of
from trt_export.checkpoint.single_files.marks import METADATA, Marks
from trt_export.checkpoint.single_files.settings import from_shapes
from trt_export.checkpoint.single_files.stable_diffusion import open_stable_diffusion
from trt_export.checkpoint.tensor_files import Shapes, read_shapes
from trt_export.cli import command
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.families import Role
from trt_export.networks.description import describe
from trt_export.networks.known_parts import KNOWN_PARTS
from trt_export.networks.weights import build_empty, empty_networks, load_networks
from trt_pipeline import TorchGenerator, trt_pipeline
from trt_pipeline.errors import CheckpointError, InvalidInputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' Euler ancestral scheduler gives it."""

Both = tuple[Path, Path]

NAMES: dict[Generation, str] = {"1.x": "first", "2.x": "second", "xl": "xl"}
UNET, VAE = "model.diffusion_model.", "first_stage_model."


def make_both(folder: Path, generation: Generation, **unet: Any) -> Both:
    made = make_folder(folder / "folder", generation, **unet)
    return made, write_single_file(made, folder / "model.safetensors", generation)


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A folder of Stable Diffusion 1.x, and the same as one file."""
    return once(tmp_path_factory, "single-1", lambda folder: make_both(folder, "1.x"))


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """2.x."""
    return once(tmp_path_factory, "single-2", lambda folder: make_both(folder, "2.x"))


@pytest.fixture(scope="session")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """XL."""
    return once(tmp_path_factory, "single-xl", lambda folder: make_both(folder, "xl"))


@pytest.fixture
def file(first: Both, tmp_path: Path) -> Path:
    """A copy of the file of 1.x that the test may damage."""
    return Path(shutil.copy(first[1], tmp_path))


def change(file: Path, edit: Callable[[State], object], **metadata: str) -> Path:
    state = load_file(file)
    edit(state)
    save_file(state, file, metadata or None)
    return file


def settings_of(network: Any) -> dict[str, Any]:
    """A configuration without what changes nothing."""
    config = network.config if isinstance(network.config, dict) else network.config.to_dict()
    unread = {"_class_name", "_diffusers_version", "_use_default_values", "_name_or_path"}
    unread |= {"architectures", "dtype", "initializer_factor", "transformers_version"}
    unread |= {"bos_token_id", "pad_token_id", "sample_size", "force_upcast", "upcast_attention"}
    unread |= {"projection_dim"} if "hidden_act" in config else set()
    return {name: value for name, value in config.items() if name not in unread}


def assert_same_networks(folder: Path, file: Path) -> None:
    assert_same_networks_of(open_checkpoint(str(folder)), open_checkpoint(str(file)))


def assert_same_networks_of(folder: Checkpoint, file: Checkpoint) -> None:
    theirs, ours = (load_networks(one, "fp32") for one in (folder, file))
    for role in folder.weights:
        known, found = (getattr(networks, role).module for networks in (theirs, ours))
        assert settings_of(found) == settings_of(known)
        expected, loaded = known.state_dict(), found.state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("generation", get_args(Generation))
def test_a_file_loads_as_the_networks_of_the_folder(
    generation: Generation, request: pytest.FixtureRequest
) -> None:
    assert_same_networks(*request.getfixturevalue(NAMES[generation]))


@pytest.mark.parametrize("generation", get_args(Generation))
def test_a_file_is_described_as_the_folder(
    generation: Generation, request: pytest.FixtureRequest
) -> None:
    folder, file = (
        describe(open_checkpoint(str(one))) for one in request.getfixturevalue(NAMES[generation])
    )
    assert (file.model.name, file.model.family) == ("model", folder.model.family)
    assert file.defaults == folder.defaults
    assert file.schedule == folder.schedule
    assert file.tokenizer
    assert folder.tokenizer
    assert file.tokenizer.contents == folder.tokenizer.contents
    ours, theirs = file.tokenizer.spec, folder.tokenizer.spec
    assert replace(ours, added_tokens=theirs.added_tokens) == theirs


SHAPES: dict[str, dict[str, Any]] = {
    "three levels of two blocks": {
        "block_out_channels": (32, 32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 1, 2),
    },
    "one level": {
        "block_out_channels": (32,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
    },
    "no middle": {"mid_block_type": None},
    "a middle without attention": {"mid_block_type": "UNetMidBlock2D"},
    "a deeper middle": {"transformer_layers_per_block": (1, 3)},
    "another depth on the way up": {
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "transformer_layers_per_block": [[1], [2]],
        "reverse_transformer_layers_per_block": [[2, 1], [1, 1]],
    },
    "a wide time": {"time_embedding_dim": 96},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_architecture_follows_from_the_shapes(shape: str, tmp_path: Path) -> None:
    folder, file = make_both(tmp_path, "1.x", **SHAPES[shape])
    checkpoints = [open_checkpoint(str(one)) for one in (folder, file)]
    theirs, ours = (load_networks(one, "fp32").unet.module for one in checkpoints)
    expected, loaded = theirs.state_dict(), ours.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 64)
    with torch.no_grad():
        assert torch.equal(ours(latents, 500, text).sample, theirs(latents, 500, text).sample)


def test_a_file_is_exported_to_the_picture_of_from_single_file(first: Both, tmp_path: Path) -> None:
    assert_same_pictures(StableDiffusionPipeline, first, tmp_path)


@pytest.mark.slow
def test_a_file_of_2_is_exported_to_the_picture_of_from_single_file(
    second: Both, tmp_path: Path
) -> None:
    assert_same_pictures(StableDiffusionPipeline, second, tmp_path)


@pytest.mark.slow
def test_a_file_of_xl_is_exported_to_the_picture_of_from_single_file(
    xl: Both, tmp_path: Path
) -> None:
    assert_same_pictures(StableDiffusionXLPipeline, xl, tmp_path)


def assert_same_pictures(pipeline: Any, both: Both, tmp_path: Path) -> None:
    """Within 1 of 255 at 99.9 % of the colour values."""
    folder, file = both
    export_checkpoint(open_checkpoint(str(file)), tmp_path / "bundle", ExportOptions("fp32"))
    reference = pipeline.from_single_file(str(file), config=str(folder), local_files_only=True)
    settings: dict[str, Any] = {
        "num_inference_steps": 4,
        "guidance_scale": 5.0,
        "height": 64,
        "width": 48,
        "negative_prompt": "a cat",
    }
    theirs = reference(
        "a red circle, 3 cats", **settings, generator=torch.Generator().manual_seed(3)
    ).images[0]
    with trt_pipeline(tmp_path / "bundle", backend="onnxruntime") as pipe:
        ours = pipe("a red circle, 3 cats", **settings, generator=TorchGenerator(3)).images[0]
    difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16))
    assert (difference <= 1).mean() >= 0.999
    assert np.asarray(ours).std() > 3


def test_weights_in_half_precision_are_taken(file: Path) -> None:
    def halve(state: State) -> None:
        state.update({name: tensor.half() for name, tensor in state.items()})

    networks = load_networks(open_checkpoint(str(change(file, halve))), "fp32")
    assert networks.unet.module.conv_in.weight.dtype == torch.float32


def test_a_pickle_with_a_state_dict_is_taken(first: Both, tmp_path: Path) -> None:
    pickled = tmp_path / "model.ckpt"
    torch.save({"state_dict": load_file(first[1]), "global_step": 840_000}, pickled)
    assert open_checkpoint(str(pickled)).family.name == "stable_diffusion"


def test_weights_that_no_part_reads_are_left_out(file: Path) -> None:
    """As training, merging and other programs leave them behind."""
    text = "cond_stage_model.transformer.text_model.embeddings."
    leftovers = {
        "betas": torch.zeros(1000),
        "sqrt_recipm1_alphas_cumprod": torch.zeros(1000),
        "denoiser.sigmas": torch.zeros(1000),
        "model_ema.decay": torch.tensor(0.9),
        "first_stage_model.loss.logvar": torch.zeros(1),
        "cond_stage_model.logit_scale": torch.tensor(1.0),
        f"{text}position_ids": torch.arange(77).float()[None],
        "embedding_manager.string_to_param_dict": torch.zeros(1),
    }
    load_networks(open_checkpoint(str(change(file, lambda state: state.update(leftovers)))), "fp32")


def test_names_without_the_prefix_of_older_transformers_are_taken(file: Path) -> None:
    def shorten(state: State) -> None:
        for name in [*state]:
            state[name.replace("transformer.text_model.", "transformer.")] = state.pop(name)

    load_networks(open_checkpoint(str(change(file, shorten))), "fp32")


def test_the_last_layer_of_a_whole_open_clip_is_left_out(second: Both, tmp_path: Path) -> None:
    """Stable Diffusion 2 reads the last layer but one, and files of 2.x keep the whole tower."""
    text = "cond_stage_model.model."
    layer = f"{text}transformer.resblocks."

    def complete(state: State) -> None:
        last = {name: one for name, one in state.items() if name.startswith(f"{layer}1.")}
        for name, one in last.items():
            state[name.replace(f"{layer}1.", f"{layer}2.")] = one.clone()
        state[f"{text}text_projection"] = torch.eye(64)
        state[f"{text}logit_scale"] = torch.tensor(1.0)

    file = change(Path(shutil.copy(second[1], tmp_path)), complete)
    assert_same_networks(second[0], file)


def test_a_file_that_does_not_say_what_it_predicts_comes_with_a_note(second: Both) -> None:
    (note,) = open_checkpoint(str(second[1])).notes
    assert "is taken for v_prediction at 768 pixels" in note


@pytest.mark.parametrize(
    ("stated", "predicted", "pixels"), [("epsilon", "epsilon", 512), ("v", "v_prediction", 768)]
)
def test_the_metadata_say_what_a_file_predicts(
    second: Both, tmp_path: Path, stated: str, predicted: str, pixels: int
) -> None:
    file = Path(shutil.copy(second[1], tmp_path))
    change(file, lambda state: None, **{METADATA: stated})
    found = open_checkpoint(str(file))
    assert describe(found).defaults.height == pixels
    assert found.config("scheduler")["prediction_type"] == predicted
    assert found.notes == (f"{file} predicts {predicted}, as {METADATA} in it says.",)


def test_marks_of_v_prediction_and_of_a_schedule_without_signal_are_honoured(
    xl: Both, tmp_path: Path
) -> None:
    file = Path(shutil.copy(xl[1], tmp_path))
    change(file, lambda state: state.update(v_pred=torch.zeros(0), ztsnr=torch.zeros(0)))
    scheduler = open_checkpoint(str(file)).config("scheduler")
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["rescale_betas_zero_snr"] is True


def test_moving_averages_are_left_out_with_a_note(file: Path) -> None:
    change(file, lambda state: state.update({"model_ema.decay": torch.tensor(0.9)}))
    (note,) = open_checkpoint(str(file)).notes
    assert "As in diffusers, the weights themselves are taken" in note


@pytest.mark.parametrize(
    ("channels", "family", "sampler"),
    [(9, "stable_diffusion_inpaint", "ddim"), (8, "instruct_pix2pix", "euler_ancestral")],
)
def test_the_channels_tell_what_the_unet_sees_besides(
    tmp_path: Path, channels: int, family: str, sampler: str
) -> None:
    _, file = make_both(tmp_path, "1.x", in_channels=channels)
    found = describe(open_checkpoint(str(file)))
    assert (found.model.family, found.defaults.sampler) == (family, sampler)


def test_a_folder_of_configurations_says_what_weights_do_not(tmp_path: Path) -> None:
    """Eight heads would be wrong here, and so would groups of 32 channels."""
    other = {"attention_head_dim": 4, "norm_num_groups": 16}
    folder, file = make_both(tmp_path, "1.x", **other)
    found = open_checkpoint(str(file), config=folder)
    assert_same_networks_of(open_checkpoint(str(folder)), found)
    assert "config/unet/config.json" in found.files
    assert describe(found).defaults == describe(open_checkpoint(str(folder))).defaults


def test_a_folder_of_another_generation_is_refused(first: Both, xl: Both) -> None:
    with pytest.raises(CheckpointError, match=r"is of a StableDiffusionXLPipeline, but .* 1.x"):
        open_checkpoint(str(first[1]), config=xl[0])


def test_a_folder_without_an_index_is_refused(first: Both, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no model_index.json. Give --config a YAML"):
        open_checkpoint(str(first[1]), config=tmp_path)


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
    model = json.loads(json.dumps(YAML))
    for name, value in changes.items():
        *sections, last = name.split(".")
        section = model["params"]
        for part in sections:
            section = section[part]
        section[last] = value
    path.write_text(yaml.safe_dump({"model": model}))
    return path


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


def without(prefix: str) -> Callable[[State], None]:
    def edit(state: State) -> None:
        for name in [name for name in state if name.startswith(prefix)]:
            del state[name]

    return edit


def adding(name: str, *shape: int) -> Callable[[State], None]:
    return lambda state: state.update({name: torch.zeros(shape)})


def widened(state: State) -> None:
    name = f"{UNET}input_blocks.0.0.weight"
    state[name] = torch.zeros(32, 5, 3, 3)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without(VAE), r"has no vae \(first_stage_model.\*\)"),
        (without("cond_stage_model."), "has no text encoder"),
        (without(UNET), r"has no unet \(model.diffusion_model.\*\)"),
        (adding("control_model.weight", 1), "holds a ControlNet"),
        (adding("edm_mean", 4), "is Playground 2.5"),
        (adding("depth_model.weight", 1), "reads depth"),
        (adding("frobnicate", 1), r"1 weight \(first: frobnicate\) outside of"),
        (adding("scale_factor"), "holds a scale_factor of its latents"),
        (adding("ztsnr", 0), "is marked ztsnr, which a PNDMScheduler does not have"),
        (adding(f"{UNET}input_blocks.9.0.op.weight", 1), r"input_blocks.\* are numbered"),
        (without(f"{UNET}input_blocks.1.0.out_layers.3."), "it has no input_blocks.1.0.out_layers"),
        (without(f"{UNET}output_blocks.3."), "its UNet has 3 output_blocks, expected 4"),
        (adding(f"{VAE}encoder.down.1.attn.0.q.weight", 1), "attention beside its ResNet blocks"),
        (widened, "its UNet reads 5 channels, but one whose latents have 4 can be exported with 4"),
    ],
)
def test_other_files_are_refused_by_name(
    file: Path, edit: Callable[[State], None], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(change(file, edit)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lora_unet_down_blocks_0.lora_up.weight", "is a LoRA"),
        ("unet.down_blocks.0.attentions.0.to_q.lora_A.weight", "is a LoRA"),
        ("down_blocks.0.resnets.0.conv1.weight", "is one part of a folder"),
        ("model.diffusion_model.double_blocks.0.weight", "is Flux"),
        ("model.diffusion_model.input_blocks.0.0.weight", "has no text encoder"),
        ("conditioner.embedders.0.model.ln_final.weight", "refiner"),
        ("weight", "is not a checkpoint that is known"),
    ],
)
def test_files_of_one_part_are_told_what_they_are(tmp_path: Path, name: str, message: str) -> None:
    save_file({name: torch.zeros(1)}, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(tmp_path / "part.safetensors"))


def test_a_missing_weight_is_named(file: Path) -> None:
    change(file, without(f"{UNET}middle_block.0.in_layers.0.bias"))
    with pytest.raises(CheckpointError, match=r"1 missing \(first: mid_block.resnets.0.norm1.bias"):
        load_networks(open_checkpoint(str(file)), "fp32")


def test_a_weight_of_another_shape_is_named(file: Path) -> None:
    change(file, adding(f"{UNET}middle_block.0.in_layers.0.bias", 3))
    with pytest.raises(CheckpointError, match=r"norm1.bias has shape \(3,\)"):
        load_networks(open_checkpoint(str(file)), "fp32")


def test_heads_that_do_not_divide_are_refused(second: Both, tmp_path: Path) -> None:
    def narrow(state: State) -> None:
        for layer in ("in_layers.2", "out_layers.3"):
            state[f"{UNET}input_blocks.3.0.{layer}.weight"] = torch.zeros(96, 96, 3, 3)

    file = change(Path(shutil.copy(second[1], tmp_path)), narrow)
    with pytest.raises(CheckpointError, match=r"heads of 64 do not divide. Give .* --config"):
        open_checkpoint(str(file))


def test_a_truncated_file_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="is damaged or incomplete"):
        open_checkpoint(str(file))


def test_a_vocabulary_is_for_compvis_own_model_only(first: Both, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is not CompVis' text-to-image model"):
        open_checkpoint(str(first[1]), vocab=tmp_path / "vocab.txt")


def test_the_command_takes_a_folder_of_configurations(first: Both, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(first[0], tmp_path / "configurations"))
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    edit_json(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    arguments = [str(first[1]), "--config", str(folder), "--out", str(tmp_path / "bundle")]
    result = CliRunner().invoke(command, [*arguments, "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    assert "config/scheduler/scheduler_config.json" in result.output


def damaged(shapes: Shapes, random: Random) -> Shapes:
    """A file's names and shapes with one of them taken out, renamed or changed."""
    name, other = random.sample(sorted(shapes), 2)
    shape, kept = shapes[name], {one: shapes[one] for one in shapes if one != name}
    match random.randrange(6):
        case 0:
            return kept
        case 1:
            return {**kept, name.replace(".0.", ".7."): shape}
        case 2:
            return {**kept, name: tuple(random.choice((0, 1, 7, 2**40)) for _ in shape)}
        case 3:
            return {**kept, name: shape[:-1]}
        case 4:
            return {**kept, name: shapes[other]}
        case _:
            return {**kept, name[: random.randrange(len(name))]: shape}


@pytest.mark.parametrize("generation", get_args(Generation))
def test_damaged_names_and_shapes_raise_errors_of_this_package_only(
    generation: Generation, request: pytest.FixtureRequest
) -> None:
    _, file = request.getfixturevalue(NAMES[generation])
    shapes, random, refused = read_shapes(file), Random(0), 0
    for count in range(150):
        try:
            found = open_stable_diffusion(file, None, damaged(shapes, random))
            if count < 15:
                empty_networks(found)
        except CheckpointError:
            refused += 1
    assert 10 < refused < 150


PUBLISHED: dict[Generation, str] = {
    "1.x": "stable_diffusion_1_5",
    "2.x": "stable_diffusion_2_1",
    "xl": "stable_diffusion_xl",
}


ROLES: dict[Generation, tuple[Role, ...]] = {
    "1.x": ("unet", "vae", "text_encoder"),
    "2.x": ("unet", "vae", "text_encoder"),
    "xl": ("unet", "vae", "text_encoder", "text_encoder_2"),
}


@pytest.mark.parametrize("generation", get_args(Generation))
def test_the_shapes_of_published_models_give_their_configurations(generation: Generation) -> None:
    """At full size, without numbers."""
    published = open_published(generation)
    with torch.device("meta"):
        networks = [build_empty(published, role).module for role in ROLES[generation]]
    shapes = {
        name: tuple(tensor.shape) for name, tensor in original_state(generation, *networks).items()
    }
    path = Path("model.safetensors")
    found = from_shapes(path, generation_of(path, shapes), shapes, Marks())
    assert found.family == published.family
    for role, known in zip(ROLES[generation], networks, strict=True):
        kind = KNOWN_PARTS[published.class_of(role)]
        with torch.device("meta"):
            made = kind.build(known_settings(published.class_of(role), found.configs[role]))
        assert settings_of(made) == settings_of(known)
    size = published.config("unet")["sample_size"]
    assert found.configs["unet"]["sample_size"] == size


def open_published(generation: Generation) -> Checkpoint:
    folder = twin.PUBLISHED / PUBLISHED[generation]
    return Checkpoint(folder, folder.name, family_of(folder))


def test_a_tiny_decoder_may_come_from_a_folder(file: Path, tmp_path: Path) -> None:
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4
    ).save_pretrained(tmp_path / "tiny")
    found = open_checkpoint(str(file), tiny_decoder=str(tmp_path / "tiny"))
    assert "tiny_decoder/config.json" in found.files
    load_networks(found, "fp16")
