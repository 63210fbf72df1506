"""Stable Diffusion XL: pictures of its bundles against diffusers' pipelines."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.checkpoints import edit_json
from tests.stable_diffusion_xl import (
    make_inpaint_xl,
    make_other_xl,
    make_turbo_xl,
    make_wide_xl,
    make_xl,
)
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.networks.description import describe
from trt_export.onnx_graphs.tracing import Tracing
from trt_pipeline import CheckpointError, Pipeline, TorchGenerator, trt_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPT = "a red circle, 3 cats"
QUICK: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 5.0}
SIZE: dict[str, Any] = {"height": 104, "width": 88}
NOISE = np.random.default_rng(0)
IMAGE = Image.fromarray(NOISE.integers(0, 256, (13, 11, 3), np.uint8)).resize((88, 104))
MASK = Image.fromarray(np.where(NOISE.random((13, 11)) < 0.5, 255, 0).astype(np.uint8)).resize(
    (88, 104), Image.Resampling.NEAREST
)
Theirs = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="module")
def ours(xl_bundle: Path) -> Iterator[Pipeline]:
    with trt_pipeline(xl_bundle, backend="onnxruntime") as pipe:
        yield pipe


@pytest.fixture(scope="module")
def theirs(xl_checkpoint: Path) -> Theirs:
    return drawing(xl_checkpoint)


def drawing(checkpoint: Path) -> Theirs:
    """Calls of diffusers' pipelines of a checkpoint; kind: of the pipeline's class."""
    loaded = diffusers.DiffusionPipeline.from_pretrained(checkpoint)

    def draw(
        prompt: Any = PROMPT, kind: str = "", seed: int = 0, scheduler: Any = None, **settings: Any
    ) -> NDArray[np.float32]:
        pipe = getattr(diffusers, f"StableDiffusionXL{kind}Pipeline")(**loaded.components)
        pipe.register_to_config(force_zeros_for_empty_prompt=_forces_zeros(checkpoint))
        pipe.set_progress_bar_config(disable=True)
        if scheduler:
            name, changes = scheduler
            config = loaded.scheduler.config
            pipe.scheduler = getattr(diffusers, name).from_config(config, **changes)
        generator = torch.Generator().manual_seed(seed)
        images: NDArray[np.float32] = pipe(
            prompt, generator=generator, output_type="np", **settings
        ).images
        return images

    return draw


def _forces_zeros(checkpoint: Path) -> bool:
    index = json.loads((checkpoint / "model_index.json").read_text())
    return bool(index["force_zeros_for_empty_prompt"])


def drawn(pipe: Pipeline, prompt: Any = PROMPT, seed: int = 0, **settings: Any) -> Any:
    generator = TorchGenerator(seed)
    return pipe(
        prompt, generator=generator, output_type="np", progress_bar=False, **settings
    ).images


def assert_alike(found: Any, expected: NDArray[np.float32]) -> None:
    """Within 1/255 at 99.9 % of all colour values; both are float32, and sum in other orders."""
    assert found.shape == expected.shape
    levels = np.abs(np.rint(found * 255) - np.rint(expected * 255))
    assert (levels <= 1).mean() >= 0.999, levels.max()
    assert np.ptp(expected) > 0.1, "there is nothing to compare"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"negative_prompt": ""},
        {"negative_prompt": "blurred"},
        {"guidance_scale": 0.0},
        {"guidance_scale": 1.0, "negative_prompt": "blurred"},
        {"guidance_scale": 12.0},
        {"num_inference_steps": 7},
        {"num_images_per_prompt": 2},
        {"original_size": (512, 384)},
        {"crops_coords_top_left": (16, 200), "target_size": (96, 1024)},
    ],
    ids=str,
)
def test_a_text_becomes_the_picture_of_diffusers(
    ours: Pipeline, theirs: Theirs, settings: dict[str, Any]
) -> None:
    settings = {**QUICK, **SIZE, **settings}
    assert_alike(drawn(ours, **settings), theirs(**settings))


def test_defaults_are_those_of_diffusers(ours: Pipeline, theirs: Theirs) -> None:
    assert ours.bundle.defaults.num_inference_steps == 50
    few = {"num_inference_steps": 2}
    assert_alike(drawn(ours, **few), theirs(**few))


def test_negative_prompts_differ_by_whether_they_are_given(ours: Pipeline) -> None:
    given, left_out = (drawn(ours, **QUICK, negative_prompt=one) for one in ("", None))
    assert np.abs(given - left_out).max() > 0.01


def test_prompts_of_a_batch_have_their_own_texts(ours: Pipeline, theirs: Theirs) -> None:
    settings = {**QUICK, **SIZE, "negative_prompt": ["cat", "red"]}
    prompts = [PROMPT, "cat"]
    assert_alike(drawn(ours, prompts, **settings), theirs(prompts, **settings))


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [
        ("euler_ancestral", ("EulerAncestralDiscreteScheduler", {})),
        ("euler_ancestral", ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"})),
        ("dpmsolver++", ("DPMSolverMultistepScheduler", {"final_sigmas_type": "zero"})),
    ],
    ids=str,
)
def test_samplers_draw_as_diffusers_schedulers(
    ours: Pipeline, theirs: Theirs, sampler: str, scheduler: Any
) -> None:
    spacing = scheduler[1].get("timestep_spacing")
    found = drawn(ours, sampler=sampler, timestep_spacing=spacing, **QUICK)
    assert_alike(found, theirs(scheduler=scheduler, **QUICK))


@pytest.mark.parametrize("strength", [0.3, 0.8, 1.0])
def test_an_image_is_changed_as_diffusers_changes_it(
    ours: Pipeline, theirs: Theirs, strength: float
) -> None:
    settings = {**QUICK, "image": IMAGE, "strength": strength}
    assert_alike(drawn(ours, **settings), theirs(kind="Img2Img", **settings))


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_plain_model_paints_a_part_again_as_diffusers(
    ours: Pipeline, theirs: Theirs, strength: float
) -> None:
    settings = {**QUICK, **SIZE, "image": IMAGE, "mask_image": MASK, "strength": strength}
    assert_alike(drawn(ours, **settings), theirs(kind="Inpaint", **settings))


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_other_xl, make_turbo_xl])
def test_other_shapes_draw_as_diffusers(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    checkpoint = make(tmp_path / "checkpoint")
    bundle = export_checkpoint(
        open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("fp32")
    ).bundle
    draw = drawing(checkpoint)
    with trt_pipeline(bundle, backend="onnxruntime") as pipe:
        for settings in ({}, {**QUICK, **SIZE}, {**QUICK, "guidance_scale": 0.0}):
            given = {"num_inference_steps": 2, "guidance_scale": 1.0, **settings}
            assert_alike(drawn(pipe, **given), draw(**given))


@pytest.mark.slow
def test_an_inpainting_model_draws_as_diffusers(tmp_path: Path) -> None:
    checkpoint = make_inpaint_xl(tmp_path / "checkpoint")
    bundle = export_checkpoint(
        open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("fp32")
    ).bundle
    assert bundle.model.condition == "masked_image"
    draw = drawing(checkpoint)
    with trt_pipeline(bundle, backend="onnxruntime") as pipe:
        for strength in (0.6, 1.0):
            given = {**QUICK, **SIZE, "image": IMAGE, "mask_image": MASK, "strength": strength}
            assert_alike(drawn(pipe, **given), draw(kind="Inpaint", **given))


def test_a_vae_beyond_float16_stays_float32_by_itself(tmp_path: Path) -> None:
    """As the published one does, whose force_upcast is of diffusers only."""
    checkpoint = open_checkpoint(str(make_wide_xl(tmp_path / "checkpoint")))
    tracing = Tracing(checkpoint, "fp16")
    tracing.reference()
    assert list(tracing.wide) == ["decoder"]


def test_what_the_index_says_of_empty_prompts_is_kept(tmp_path: Path) -> None:
    plain = make_xl(tmp_path / "plain")
    assert describe(open_checkpoint(str(plain))).model.zeros_for_empty_prompt
    other = make_xl(tmp_path / "other", pipeline_settings={"force_zeros_for_empty_prompt": False})
    assert not describe(open_checkpoint(str(other))).model.zeros_for_empty_prompt


def changed_index(folder: Path, **changes: Any) -> str:
    path = make_xl(folder) / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "_class_name": "StableDiffusionXLImg2ImgPipeline",
                "requires_aesthetics_score": True,
                "text_encoder": [None, None],
                "tokenizer": [None, None],
            },
            "requires_aesthetics_score is True: it is a refiner",
        ),
        ({"text_encoder": [None, None]}, "names no text_encoder, expected one part"),
        ({"force_zeros_for_empty_prompt": "no"}, "is 'no', expected true or false"),
        ({"unknown": ["diffusers", "UNet2DModel"]}, "has no such part"),
    ],
)
def test_an_index_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = changed_index(tmp_path / "checkpoint", **changes)
    with pytest.raises(CheckpointError, match=message):
        describe(open_checkpoint(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"addition_time_embed_dim": 6}, "it reads a pooled text of width 36, but .* give 24"),
        ({"addition_time_embed_dim": None}, "addition_time_embed_dim is None, but addition_embed"),
        ({"cross_attention_dim": 64}, "reads text of width 64, but the text encoder gives width"),
        (
            {"addition_embed_type": "text"},
            "addition_embed_type is 'text'; only None or 'text_time'",
        ),
    ],
)
def test_a_unet_that_fits_no_text_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = make_xl(tmp_path / "checkpoint") / "unet/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=message):
        describe(open_checkpoint(str(tmp_path / "checkpoint")))


def test_latents_normalised_by_channel_are_refused_by_name(tmp_path: Path) -> None:
    numbers = {"latents_mean": [0.1] * 4, "latents_std": [2.0] * 4}
    folder = make_xl(tmp_path / "checkpoint", vae=numbers)
    with pytest.raises(CheckpointError, match="latents_mean and latents_std are set"):
        describe(open_checkpoint(str(folder)))


def test_a_text_encoder_of_other_length_is_refused_by_name(tmp_path: Path) -> None:
    folder = make_xl(tmp_path / "checkpoint", text_encoder_2={"max_position_embeddings": 64})
    with pytest.raises(CheckpointError, match="max_position_embeddings is 64, but 77 in"):
        describe(open_checkpoint(str(folder)))


def test_an_entry_that_no_xl_pipeline_reads_is_passed_over(
    xl_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = Path(shutil.copytree(xl_checkpoint, tmp_path / "xl"))
    edit_json(
        checkpoint / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
    )
    assert open_checkpoint(str(checkpoint)).family.pipeline == "StableDiffusionXLPipeline"
