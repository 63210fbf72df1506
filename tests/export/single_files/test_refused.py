"""Single files that cannot be exported, which are refused in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import get_args

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from tests.checkpoints import edit_json
from tests.compvis_checkpoints import State
from tests.single_files import (
    FIXTURES,
    Both,
    Generation,
    change,
)
from trt_export.checkpoint.files.tensors import Shapes, read_shapes
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.single_files.stable_diffusion import open_stable_diffusion
from trt_export.cli import command
from trt_export.networks.weights.loading import empty_networks, load_networks
from trt_pipeline.errors import CheckpointError, InvalidInputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' Euler ancestral scheduler gives it."""

UNET, VAE = "model.diffusion_model.", "first_stage_model."
"""How the names of their weights begin."""


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
    _, file = request.getfixturevalue(FIXTURES[generation])
    shapes, random, refused = read_shapes(file), Random(0), 0
    for count in range(150):
        try:
            found = open_stable_diffusion(file, None, damaged(shapes, random))
            if count < 15:
                empty_networks(found)
        except CheckpointError:
            refused += 1
    assert 10 < refused < 150
