"""The finished picture of an export against the reference pipeline's."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, VQModel

from tests.checkpoints import (
    edit_json,
    make_super_resolution,
    make_unconditional,
)
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.cli import command
from trt_export.export import ExportOptions, ExportReport, export_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.reference.pipeline import Drawing, draw
from trt_export.networks.weights.loading import load_networks
from trt_export.onnx_graphs.picture import check_picture
from trt_pipeline.command_line import console
from trt_pipeline.errors import CheckpointError, ParityError

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def opened(folder: Path, **family: Any) -> Checkpoint:
    """The checkpoint, with other data of its family."""
    checkpoint = open_checkpoint(str(folder))
    return replace(checkpoint, family=replace(checkpoint.family, **family))


def drawn(folder: Path) -> Drawing:
    checkpoint = open_checkpoint(str(folder))
    drawing = draw(checkpoint, load_networks(checkpoint, "fp32"))
    assert drawing
    return drawing


def test_an_export_ends_with_a_picture_within_one_level(resumed_export: ExportReport) -> None:
    *_, (last, _) = resumed_export.seconds.items()
    assert last == "check picture"
    row = dict(resumed_export.parity[-1])
    assert row.pop("difference") in (0, 1)
    assert row == {"graph": "picture", "precision": "fp32", "output": "image", "tolerance": 1}


def test_a_wrong_assumption_stops_the_export_and_leaves_no_bundle(tmp_path: Path) -> None:
    folder = make_super_resolution(tmp_path / "checkpoint", quantized=False)
    checkpoint = opened(folder, scales_latents=True)
    with pytest.raises(
        ParityError,
        match=r"not that of diffusers' LDMSuperResolutionPipeline: 99.9% of it are with",
    ):
        export_checkpoint(checkpoint, tmp_path / "out" / "bundle", ExportOptions("fp32"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".bundle.lock"]


def test_a_picture_of_another_seed_is_refused(
    unconditional_checkpoint: Path, unconditional_bundle: Path
) -> None:
    drawing = drawn(unconditional_checkpoint)
    others = replace(drawing, pictures=drawing.pictures[1:])
    with pytest.raises(ParityError, match=r"are within \d+/255, but 1/255 is allowed"):
        check_picture(unconditional_bundle, "LDMPipeline", others)


def test_one_seed_that_agrees_is_enough(
    unconditional_checkpoint: Path, unconditional_bundle: Path
) -> None:
    first, second = drawn(unconditional_checkpoint).pictures
    tipped = Drawing({"num_inference_steps": 3}, (1 - first, second), {})
    assert check_picture(unconditional_bundle, "LDMPipeline", tipped).difference <= 1


def test_a_picture_of_another_size_is_refused(
    unconditional_checkpoint: Path, unconditional_bundle: Path
) -> None:
    drawing = drawn(unconditional_checkpoint)
    narrow = replace(drawing, pictures=(drawing.pictures[0][:, :32],))
    with pytest.raises(ParityError, match="are within"):
        check_picture(unconditional_bundle, "LDMPipeline", narrow)


def test_the_reference_is_drawn_with_a_prompt_and_guidance(plain_checkpoint: Path) -> None:
    drawing = drawn(plain_checkpoint)
    assert drawing.settings["guidance_scale"] == 3.0
    assert drawing.settings["num_inference_steps"] == 3
    assert "猫" in drawing.settings["prompt"]
    assert [picture.shape for picture in drawing.pictures] == [(40, 64, 3)]


def test_drawing_leaves_the_random_numbers_of_a_caller_alone(plain_checkpoint: Path) -> None:
    before = torch.random.get_rng_state()
    drawn(plain_checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_drawing_is_read_as_it_was_written(tmp_path: Path) -> None:
    pictures = tuple(np.random.default_rng(0).random((2, 3, 8, 8), np.float32))
    upright = tuple(np.ascontiguousarray(one.transpose(1, 2, 0)) for one in pictures)
    Drawing({"prompt": "猫"}, upright, {"mask_image": np.eye(3, dtype=np.uint8)}).save(tmp_path)
    found = Drawing.load(tmp_path)
    np.testing.assert_array_equal(found.pictures, upright)
    assert [*found.images] == ["mask_image"]
    np.testing.assert_array_equal(found.images["mask_image"], np.eye(3, dtype=np.uint8))
    assert found.settings == {"prompt": "猫"}


def test_the_reference_is_diffusers_own_pipeline(tmp_path: Path) -> None:
    folder = make_unconditional(tmp_path / "checkpoint")
    theirs = diffusers.LDMPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    torch.manual_seed(1)
    expected = theirs(num_inference_steps=3, output_type="np").images[0]
    np.testing.assert_array_equal(drawn(folder).pictures[1], expected)


def test_a_checkpoint_that_diffusers_cannot_draw_is_refused(tmp_path: Path) -> None:
    folder = make_unconditional(tmp_path / "checkpoint")
    edit_json(folder / "scheduler" / "scheduler_config.json", steps_offset=900)
    with pytest.raises(
        CheckpointError, match=r"diffusers' LDMPipeline cannot draw .*\(IndexError: index"
    ):
        drawn(folder)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "LMSDiscreteScheduler"])
def test_a_scheduler_that_the_reference_does_not_scale_for_is_refused(
    name: str, tmp_path: Path
) -> None:
    folder = make_super_resolution(tmp_path / "checkpoint")
    edit_json(folder / "model_index.json", scheduler=["diffusers", name])
    getattr(diffusers, name)().save_pretrained(folder / "scheduler")
    with pytest.raises(CheckpointError, match=f"{name} asks its pipeline to scale .* --sampler"):
        describe(open_checkpoint(str(folder)))


def test_the_reference_of_unconditional_models_scales_for_every_scheduler(tmp_path: Path) -> None:
    folder = make_unconditional(tmp_path / "checkpoint")
    edit_json(folder / "model_index.json", scheduler=["diffusers", "EulerDiscreteScheduler"])
    diffusers.EulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    assert describe(open_checkpoint(str(folder))).defaults.sampler == "euler"


FACTORS: list[tuple[dict[str, Any], float]] = [
    ({"scaling_factor": 0.5}, 0.5),
    ({"scaling_factor": 1}, 1),
    ({"scaling_factor": 0.18215}, 0.18215),
    ({}, 1),
]


@pytest.mark.parametrize(("stated", "factor"), FACTORS)
def test_unconditional_latents_are_divided_by_the_factor_that_is_stated(
    stated: dict[str, float], factor: float, tmp_path: Path
) -> None:
    checkpoint = opened(with_factor(make_unconditional(tmp_path / "checkpoint"), stated))
    vae = load_networks(checkpoint, "fp32").vae
    reference = VQModel.from_pretrained(checkpoint.path / "vqvae")
    assert_decodes(vae, reference, factor)
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        expected = reference.encode(pictures).latents * factor
        torch.testing.assert_close(vae.encode(pictures), expected)


@pytest.mark.parametrize(("stated", "_"), FACTORS)
@pytest.mark.parametrize("quantized", [True, False])
def test_super_resolution_never_divides_latents(
    stated: dict[str, float], _: float, quantized: bool, tmp_path: Path
) -> None:
    folder = make_super_resolution(tmp_path / "checkpoint", quantized)
    checkpoint = opened(with_factor(folder, stated))
    kind = VQModel if quantized else AutoencoderKL
    reference = kind.from_pretrained(checkpoint.path / "vqvae")
    assert_decodes(load_networks(checkpoint, "fp32").vae, reference, 1)


@pytest.mark.parametrize("factor", [0.5, 1.0, 0.18215])
def test_latents_of_prompts_are_divided_by_the_scaling_factor(
    factor: float, plain_checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(plain_checkpoint, tmp_path / "checkpoint"))
    more = {"shift_factor": 0.3, "latents_mean": [2.0] * 4, "latents_std": [3.0] * 4}
    checkpoint = opened(with_factor(folder, {"scaling_factor": factor, **more}))
    reference = AutoencoderKL.from_pretrained(checkpoint.path / "vqvae")
    assert reference.config.shift_factor == 0.3
    assert_decodes(load_networks(checkpoint, "fp32").vae, reference, factor)


def with_factor(folder: Path, stated: dict[str, Any]) -> Path:
    """Let the VAE's configuration state this, and no other factor."""
    path = folder / "vqvae" / "config.json"
    config = json.loads(path.read_text())
    del config["scaling_factor"]
    path.write_text(json.dumps(config | stated))
    return folder


def assert_decodes(vae: Any, reference: Any, factor: float) -> None:
    """Whether the graph decodes as a pipeline that divides latents by a factor."""
    latents = torch.randn(2, vae.latent_channels, 4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image = reference.decode(latents / factor).sample
        expected = ((image / 2 + 0.5).clamp(0, 1) * 255).permute(0, 2, 3, 1)
        found = vae.decoder()(latents)
    assert expected.std() > 1
    assert (found - expected).abs().max() <= 0.51


def notes_of(folder: Path) -> str:
    return "\n".join(describe(open_checkpoint(str(folder))).notes)


def test_an_absent_factor_is_said_to_be_1(tmp_path: Path) -> None:
    folder = with_factor(make_unconditional(tmp_path / "checkpoint"), {})
    assert "states no scaling_factor: latents are decoded as they are" in notes_of(folder)
    assert "diffusers would divide them by 0.18215" in notes_of(folder)


def test_the_default_factor_is_honoured_and_named(tmp_path: Path) -> None:
    folder = make_unconditional(tmp_path / "checkpoint", scaling_factor=0.18215)
    assert "CompVis' VQ models were trained with 1" in notes_of(folder)


def test_notes_are_lines_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_unconditional(tmp_path / "checkpoint", scaling_factor=0.18215)
    assert console.run(command, [str(folder), "--out", str(tmp_path / "bundle"), "--dry-run"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("note: ")] == [
        f"note: {folder}/vqvae/config.json: scaling_factor is 0.18215, diffusers' default, and "
        "latents are divided by it, as diffusers does. CompVis' VQ models were trained with 1."
    ]


def test_another_factor_needs_no_words(tmp_path: Path) -> None:
    assert notes_of(make_unconditional(tmp_path / "other")) == ""
    assert notes_of(make_super_resolution(tmp_path / "enlarging")) == ""


@pytest.mark.parametrize("factor", [0, -1, "large", True])
def test_a_factor_that_is_not_a_positive_number_is_refused(factor: object, tmp_path: Path) -> None:
    folder = with_factor(make_unconditional(tmp_path / "checkpoint"), {"scaling_factor": factor})
    with pytest.raises(CheckpointError, match=f"scaling_factor is {factor!r}; only a positive"):
        describe(open_checkpoint(str(folder)))
