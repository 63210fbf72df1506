"""Stable Diffusion as users share it: one file, without a YAML."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from tests.compvis_checkpoints import State
from tests.loras import as_kohya, make_pairs
from tests.single_files import (
    FIXTURES,
    Both,
    Generation,
    assert_same_networks_of,
    change,
    make_both,
    original_state,
    settings_of,
)
from trt_export import twin
from trt_export.checkpoint.adapters.files import LoraFile
from trt_export.checkpoint.configs.keys import known_settings
from trt_export.checkpoint.configs.model_index import family_of
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.single_files.generations import generation_of
from trt_export.checkpoint.single_files.marks import METADATA, Marks
from trt_export.checkpoint.single_files.settings import from_shapes
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.families import Role
from trt_export.networks.description import describe
from trt_export.networks.known_parts import KNOWN_PARTS
from trt_export.networks.weights.loading import build_empty, load_networks
from trt_pipeline import TorchGenerator, trt_pipeline
from trt_pipeline.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' Euler ancestral scheduler gives it."""


def assert_same_networks(folder: Path, file: Path) -> None:
    assert_same_networks_of(open_checkpoint(str(folder)), open_checkpoint(str(file)))


@pytest.mark.parametrize("generation", get_args(Generation))
def test_a_file_loads_as_the_networks_of_the_folder(
    generation: Generation, request: pytest.FixtureRequest
) -> None:
    assert_same_networks(*request.getfixturevalue(FIXTURES[generation]))


@pytest.mark.parametrize("generation", get_args(Generation))
def test_a_lora_is_fused_into_a_file_as_into_the_folder(
    generation: Generation, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder, file = request.getfixturevalue(FIXTURES[generation])
    networks = load_networks(open_checkpoint(str(folder)), "fp32").modules
    parts: dict[str, Any] = {role: one for role, one in networks.items() if role != "vae"}
    pairs = make_pairs(parts, lambda name: name.endswith(("to_q", "fc1")))
    lora = LoraFile(tmp_path / "lora.safetensors", 0.5)
    save_file(as_kohya(pairs, first="lora_te1" if generation == "xl" else "lora_te"), lora.path)
    before = networks["unet"].state_dict()
    assert_same_networks_of(*(open_checkpoint(str(one), loras=[lora]) for one in (folder, file)))
    after = load_networks(open_checkpoint(str(file), loras=[lora]), "fp32").unet.module
    changed = [name for name, one in after.state_dict().items() if not before[name].equal(one)]
    assert changed
    assert all(name.endswith("to_q.weight") for name in changed)


@pytest.mark.parametrize("generation", get_args(Generation))
def test_a_file_is_described_as_the_folder(
    generation: Generation, request: pytest.FixtureRequest
) -> None:
    folder, file = (
        describe(open_checkpoint(str(one))) for one in request.getfixturevalue(FIXTURES[generation])
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
