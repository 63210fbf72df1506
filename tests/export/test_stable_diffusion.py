"""Stable Diffusion's families: exported, and their pictures compared with diffusers' pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    LatentConsistencyModelPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from tests.stable_diffusion import (
    assert_same,
    exported,
    make_inpaint,
    make_instruct_pix2pix,
    make_latent_consistency,
    make_stable_diffusion,
    make_stable_diffusion_2,
    theirs,
)
from trt_pipeline import TorchGenerator, load_bundle, trt_pipeline

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Model = tuple[Path, Path]
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "tcd": "TCDScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Sampler → the scheduler that it follows."""
PROMPT = "a red circle, 3 cats"
STRAIGHT: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 3}


def model(maker: Callable[[Path], Path]) -> Any:
    @pytest.fixture(scope="module", name=maker.__name__.removeprefix("make_"))
    def made(tmp_path_factory: pytest.TempPathFactory) -> Model:
        return exported(tmp_path_factory, maker)

    return made


plain = model(make_stable_diffusion)
second = model(make_stable_diffusion_2)
consistent = model(make_latent_consistency)
inpainting = model(make_inpaint)
instructed = model(make_instruct_pix2pix)


def pixels(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth random picture, as a resized one would be."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def mask(height: int, width: int) -> Image.Image:
    """White where the picture is painted again, with an edge that cuts through latents."""
    white = np.zeros((height, width), np.uint8)
    white[height // 3 + 3 :, : width // 2 + 3] = 255
    return Image.fromarray(white)


def check(
    kind: Any, made: Model, sampler: str | None = None, seed: int = 0, **settings: Any
) -> None:
    """Compare pictures of a bundle with those of diffusers' pipeline for the same arguments."""
    checkpoint, bundle = made
    scheduler = getattr(diffusers, SCHEDULERS[sampler]) if sampler else None
    pipe = theirs(kind, checkpoint, scheduler)
    generator = torch.Generator().manual_seed(seed)
    expected = pipe(**settings, generator=generator, output_type="np").images
    ours = {**settings, "generator": TorchGenerator(seed), "sampler": sampler}
    with trt_pipeline(bundle, backend="onnxruntime", verify="none") as own:
        found = own(**ours, output_type="np", progress_bar=False).images
    assert_same(found, expected)


def test_a_bundle_says_how_its_model_is_guided(
    stable_diffusion: Model, latent_consistency: Model
) -> None:
    guided, embedded = (load_bundle(bundle) for _, bundle in (stable_diffusion, latent_consistency))
    assert (guided.model.guides_above_1_only, embedded.model.guides_above_1_only) == (True, False)
    assert [*guided.inputs("time_embedding")] == ["timesteps"]
    assert [*embedded.inputs("time_embedding")] == ["timesteps", "guidance_scale"]
    assert guided.model.condition is None


def test_a_condition_has_the_channels_of_its_kind(inpaint: Model, instruct_pix2pix: Model) -> None:
    masked, image = (load_bundle(bundle) for _, bundle in (inpaint, instruct_pix2pix))
    size = ("latent_height", "latent_width")
    assert masked.inputs("denoiser")["condition"].shape == ("rows", 5, *size)
    assert image.inputs("denoiser")["condition"].shape == ("rows", 4, *size)
    assert (masked.model.condition, image.model.condition) == ("masked_image", "image")


@pytest.mark.parametrize("guidance_scale", [0.5, 1.0, 7.5])
def test_pictures_match_diffusers_at_a_guidance_scale(
    guidance_scale: float, stable_diffusion: Model
) -> None:
    check(
        StableDiffusionPipeline,
        stable_diffusion,
        negative_prompt="2 small, blue squares",
        guidance_scale=guidance_scale,
        **STRAIGHT,
    )


@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_pictures_match_diffusers_with_a_sampler(sampler: str, stable_diffusion: Model) -> None:
    check(StableDiffusionPipeline, stable_diffusion, sampler, prompt=PROMPT, num_inference_steps=5)


def test_pictures_of_a_batch_match_diffusers(stable_diffusion: Model) -> None:
    check(
        StableDiffusionPipeline,
        stable_diffusion,
        prompt=["a red circle", "3 cats, ÜBER-große Katzen, 猫!"],
        negative_prompt=["", "blue"],
        num_images_per_prompt=2,
        num_inference_steps=3,
        height=72,
        width=104,
    )


def test_v_prediction_matches_diffusers(stable_diffusion_2: Model) -> None:
    check(StableDiffusionPipeline, stable_diffusion_2, **STRAIGHT)


def test_a_picture_from_a_picture_matches_diffusers(stable_diffusion: Model) -> None:
    check(
        StableDiffusionImg2ImgPipeline,
        stable_diffusion,
        image=pixels(72, 104),
        strength=0.6,
        prompt=PROMPT,
        num_inference_steps=5,
    )


def test_repainting_with_a_plain_model_matches_diffusers(stable_diffusion: Model) -> None:
    check(
        StableDiffusionInpaintPipeline,
        stable_diffusion,
        image=pixels(128, 128),
        mask_image=mask(128, 128),
        strength=0.8,
        prompt=PROMPT,
        num_inference_steps=5,
    )


@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_repainting_with_an_inpainting_model_matches_diffusers(
    strength: float, inpaint: Model
) -> None:
    check(
        StableDiffusionInpaintPipeline,
        inpaint,
        image=pixels(64, 64),
        mask_image=mask(64, 64),
        strength=strength,
        **STRAIGHT,
    )


@pytest.mark.parametrize("image_guidance_scale", [0.5, 1.0, 1.5])
def test_a_picture_changed_as_told_matches_diffusers(
    image_guidance_scale: float, instruct_pix2pix: Model
) -> None:
    check(
        StableDiffusionInstructPix2PixPipeline,
        instruct_pix2pix,
        image=pixels(72, 104),
        image_guidance_scale=image_guidance_scale,
        negative_prompt="blue",
        **STRAIGHT,
    )


@pytest.mark.parametrize("guidance_scale", [1.0, 8.5])
def test_latent_consistency_matches_diffusers(
    guidance_scale: float, latent_consistency: Model
) -> None:
    check(
        LatentConsistencyModelPipeline,
        latent_consistency,
        guidance_scale=guidance_scale,
        num_images_per_prompt=2,
        prompt=PROMPT,
        num_inference_steps=4,
    )


def test_defaults_are_those_of_diffusers(latent_consistency: Model) -> None:
    check(LatentConsistencyModelPipeline, latent_consistency, prompt=PROMPT)
