"""Stable Diffusion's families: exported, and their pictures compared with diffusers' pipelines."""

from typing import Any

import pytest
from diffusers import (
    LatentConsistencyModelPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)

from tests.stable_diffusion import (
    SCHEDULERS,
    Pair,
    make_inpaint,
    make_instruct_pix2pix,
    make_latent_consistency,
    make_stable_diffusion,
    make_stable_diffusion_2,
    mask,
    pair_of,
    pixels,
)

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPT = "a red circle, 3 cats"
STRAIGHT: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 3}


plain = pair_of(make_stable_diffusion)
second = pair_of(make_stable_diffusion_2)
consistent = pair_of(make_latent_consistency)
inpainting = pair_of(make_inpaint)
instructed = pair_of(make_instruct_pix2pix)


def test_a_bundle_says_how_its_model_is_guided(
    stable_diffusion: Pair, latent_consistency: Pair
) -> None:
    guided, embedded = stable_diffusion.own.bundle, latent_consistency.own.bundle
    assert (guided.model.guides_above_1_only, embedded.model.guides_above_1_only) == (True, False)
    assert [*guided.inputs("time_embedding")] == ["timesteps"]
    assert [*embedded.inputs("time_embedding")] == ["timesteps", "guidance_scale"]
    assert guided.model.condition is None


def test_a_condition_has_the_channels_of_its_kind(inpaint: Pair, instruct_pix2pix: Pair) -> None:
    masked, image = inpaint.own.bundle, instruct_pix2pix.own.bundle
    size = ("latent_height", "latent_width")
    assert masked.inputs("denoiser")["condition"].shape == ("rows", 5, *size)
    assert image.inputs("denoiser")["condition"].shape == ("rows", 4, *size)
    assert (masked.model.condition, image.model.condition) == ("masked_image", "image")


@pytest.mark.parametrize("guidance_scale", [0.5, 1.0, 7.5])
def test_pictures_match_diffusers_at_a_guidance_scale(
    guidance_scale: float, stable_diffusion: Pair
) -> None:
    stable_diffusion.check(
        StableDiffusionPipeline,
        negative_prompt="2 small, blue squares",
        guidance_scale=guidance_scale,
        **STRAIGHT,
    )


@pytest.mark.parametrize("sampler", SCHEDULERS)
def test_pictures_match_diffusers_with_a_sampler(sampler: str, stable_diffusion: Pair) -> None:
    stable_diffusion.check(StableDiffusionPipeline, sampler, prompt=PROMPT, num_inference_steps=5)


def test_pictures_of_a_batch_match_diffusers(stable_diffusion: Pair) -> None:
    stable_diffusion.check(
        StableDiffusionPipeline,
        prompt=["a red circle", "3 cats, ÜBER-große Katzen, 猫!"],
        negative_prompt=["", "blue"],
        num_images_per_prompt=2,
        num_inference_steps=3,
        height=72,
        width=104,
    )


def test_v_prediction_matches_diffusers(stable_diffusion_2: Pair) -> None:
    stable_diffusion_2.check(StableDiffusionPipeline, **STRAIGHT)


def test_a_picture_from_a_picture_matches_diffusers(stable_diffusion: Pair) -> None:
    stable_diffusion.check(
        StableDiffusionImg2ImgPipeline,
        image=pixels(72, 104),
        strength=0.6,
        prompt=PROMPT,
        num_inference_steps=5,
    )


def test_repainting_with_a_plain_model_matches_diffusers(stable_diffusion: Pair) -> None:
    stable_diffusion.check(
        StableDiffusionInpaintPipeline,
        image=pixels(128, 128),
        mask_image=mask(128, 128),
        strength=0.8,
        prompt=PROMPT,
        num_inference_steps=5,
    )


@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_repainting_with_an_inpainting_model_matches_diffusers(
    strength: float, inpaint: Pair
) -> None:
    inpaint.check(
        StableDiffusionInpaintPipeline,
        image=pixels(64, 64),
        mask_image=mask(64, 64),
        strength=strength,
        **STRAIGHT,
    )


@pytest.mark.parametrize("image_guidance_scale", [0.5, 1.0, 1.5])
def test_a_picture_changed_as_told_matches_diffusers(
    image_guidance_scale: float, instruct_pix2pix: Pair
) -> None:
    instruct_pix2pix.check(
        StableDiffusionInstructPix2PixPipeline,
        image=pixels(72, 104),
        image_guidance_scale=image_guidance_scale,
        negative_prompt="blue",
        **STRAIGHT,
    )


@pytest.mark.parametrize("guidance_scale", [1.0, 8.5])
def test_latent_consistency_matches_diffusers(
    guidance_scale: float, latent_consistency: Pair
) -> None:
    latent_consistency.check(
        LatentConsistencyModelPipeline,
        guidance_scale=guidance_scale,
        num_images_per_prompt=2,
        prompt=PROMPT,
        num_inference_steps=4,
    )


def test_defaults_are_those_of_diffusers(latent_consistency: Pair) -> None:
    latent_consistency.check(LatentConsistencyModelPipeline, prompt=PROMPT)
