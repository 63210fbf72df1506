"""Families of models: exported as their files say, and their pictures compared with diffusers'."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LDMPipeline, LDMSuperResolutionPipeline
from PIL import Image

import trt_export.families
from tests.checkpoints import edit_json, make_super_resolution, make_unconditional
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.families import families
from trt_export.networks.description import describe
from trt_pipeline import TorchGenerator, load_bundle, trt_pipeline
from trt_pipeline.errors import CheckpointError


def loaded(kind: Any, checkpoint: Path) -> Any:
    pipe = kind.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def assert_same(found: Any, expected: Any) -> None:
    """A latent that is a tie between two codes may take either, and then pixels differ."""
    difference = np.abs(np.asarray(found) * 255 - np.asarray(expected) * 255)
    assert (difference <= 1.01).mean() >= 0.99


def test_every_file_in_the_folder_is_a_family() -> None:
    found = families()
    files = Path(str(trt_export.families.__file__)).parent.glob("*.py")
    assert sorted(found) == sorted({file.stem for file in files} - {"__init__"})
    assert [family.name for family in found.values()] == list(found)


@pytest.mark.parametrize(
    ("bundle", "graphs", "steps", "condition"),
    [
        ("unconditional", ("time_embedding", "denoiser", "cached_denoiser", "decoder"), 50, None),
        (
            "super_resolution",
            ("time_embedding", "denoiser", "cached_denoiser", "decoder"),
            100,
            "low_resolution",
        ),
    ],
)
def test_a_bundle_says_what_its_family_does(
    bundle: str,
    graphs: tuple[str, ...],
    steps: int,
    condition: str | None,
    request: pytest.FixtureRequest,
) -> None:
    found = load_bundle(request.getfixturevalue(f"{bundle}_bundle"))
    assert tuple(found.graphs) == graphs
    assert (found.model.family, found.model.context_tokens) == (f"ldm_{bundle}", 0)
    assert (found.model.condition, found.tokenizer) == (condition, None)
    assert (found.defaults.num_inference_steps, found.defaults.guidance_scale) == (steps, 1.0)


def test_an_input_that_a_family_lacks_is_absent(
    unconditional_bundle: Path, super_resolution_bundle: Path
) -> None:
    plain = load_bundle(unconditional_bundle).inputs("denoiser")
    enlarging = load_bundle(super_resolution_bundle).inputs("denoiser")
    step = ["latents", "history", "time_embeds", "rows", "guidance", "coefficients", "noise"]
    assert [*plain] == step
    assert [*enlarging] == [*step[:3], "condition", *step[3:]]
    assert enlarging["condition"].shape == ("rows", 3, "latent_height", "latent_width")


def test_unconditional_pictures_match_diffusers(
    unconditional_checkpoint: Path, unconditional_bundle: Path
) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 8, "eta": 0.4, "output_type": "np"}
    theirs = loaded(LDMPipeline, unconditional_checkpoint)
    torch.manual_seed(0)  # after loading, which may draw weights
    expected = theirs(batch_size=2, **settings).images
    with trt_pipeline(unconditional_bundle) as pipe:
        settings |= {"generator": TorchGenerator(0), "progress_bar": False}
        assert_same(pipe(num_images_per_prompt=2, **settings).images, expected)
        odd = pipe(height=36, width=68, num_inference_steps=2, progress_bar=False).images[0]
        assert odd.size == (68, 36)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers
@pytest.mark.parametrize("quantized", [True, False])
def test_enlarged_pictures_match_diffusers(
    quantized: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if quantized:
        checkpoint = request.getfixturevalue("super_resolution_checkpoint")
        bundle = request.getfixturevalue("super_resolution_bundle")
    else:
        checkpoint, bundle = make_super_resolution(tmp_path / "kl", quantized=False), tmp_path / "b"
        export_checkpoint(open_checkpoint(str(checkpoint)), bundle, ExportOptions("fp32"))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).resize((70, 40), Image.Resampling.BICUBIC)
    settings: dict[str, Any] = {"num_inference_steps": 8, "output_type": "np"}
    theirs = loaded(LDMSuperResolutionPipeline, checkpoint)
    generator = torch.Generator().manual_seed(0)
    expected = theirs(image, generator=generator, **settings).images
    with trt_pipeline(bundle) as pipe:
        assert pipe.bundle.defaults.sampler == "dpmsolver++"
        ours = {"generator": TorchGenerator(0), "progress_bar": False, **settings}
        found = pipe(image=image, **ours).images
    assert np.asarray(found).shape == ((1, 128, 256, 3) if quantized else (1, 64, 128, 3))
    assert_same(found, expected)


def test_a_unet_of_other_channels_is_refused(tmp_path: Path) -> None:
    checkpoint = make_unconditional(tmp_path / "checkpoint")
    edit_json(checkpoint / "unet" / "config.json", out_channels=4)
    expected = (
        r"unet/config.json: in_channels is 3 and out_channels 4, but .*vqvae/config.json makes "
        r"latents of latent_channels 3\."
    )
    with pytest.raises(CheckpointError, match=expected):
        describe(open_checkpoint(str(checkpoint)))


def test_a_unet_of_classes_is_refused(tmp_path: Path) -> None:
    checkpoint = make_unconditional(tmp_path / "checkpoint")
    edit_json(checkpoint / "unet" / "config.json", class_embed_type="timestep")
    with pytest.raises(CheckpointError, match="class_embed_type is 'timestep'; only None"):
        describe(open_checkpoint(str(checkpoint)))


def test_a_guidance_scale_that_a_family_does_not_embed_is_refused(
    plain_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = Path(shutil.copytree(plain_checkpoint, tmp_path / "checkpoint"))
    edit_json(checkpoint / "unet" / "config.json", time_cond_proj_dim=32)
    expected = "time_cond_proj_dim is 32, but the family ldm_text_to_image expects None"
    with pytest.raises(CheckpointError, match=expected):
        describe(open_checkpoint(str(checkpoint)))
