"""Other shapes of Stable Diffusion's checkpoints, with many settings, against diffusers."""

from pathlib import Path
from typing import Any

import pytest
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)

from tests.stable_diffusion import (
    ONE_LEVEL,
    SCHEDULE,
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

pytestmark = [
    pytest.mark.slow,
    # diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # diffusers repeats one image for several pictures, and says that it will not for ever.
    pytest.mark.filterwarnings("ignore:You have passed 3 text prompts:FutureWarning"),
]

TWO_LEVELS: dict[str, Any] = {
    "sample_size": 10,
    "block_out_channels": (24, 40),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": (3, 5),
    "layers_per_block": 2,
    "use_linear_projection": True,
}
V_PREDICTION = DDIMScheduler(
    clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction", **SCHEDULE
)
SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_inference_steps": 1, "guidance_scale": 1.0},
    {"num_inference_steps": 2, "guidance_scale": 0.5, "negative_prompt": "blue"},
    {"num_inference_steps": 9, "guidance_scale": 7.5, "negative_prompt": "2 small, blue squares"},
    {"num_inference_steps": 4, "guidance_scale": 1.1, "num_images_per_prompt": 3},
)
PROMPT = "über-große Katzen: 猫! a red circle's edge"


def make_four_levels(folder: Path) -> Path:
    """The levels of Stable Diffusion 1.x."""
    return make_stable_diffusion(
        folder,
        6,
        scheduler=EulerDiscreteScheduler(**SCHEDULE),
        pad_token="!",
        text_encoder={"num_hidden_layers": 4, "num_attention_heads": 2},
        vae={"layers_per_block": 2, "block_out_channels": (8, 16, 24, 32)},
        sample_size=24,
        block_out_channels=(16, 24, 32, 32),
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        layers_per_block=2,
        attention_head_dim=8,
    )


def make_repainting(folder: Path) -> Path:
    return make_inpaint(folder, 7, scheduler=V_PREDICTION, **TWO_LEVELS)


def make_instructed(folder: Path) -> Path:
    return make_instruct_pix2pix(folder, 8, vae={"scaling_factor": 0.7}, **TWO_LEVELS)


def make_consistent(folder: Path) -> Path:
    return make_latent_consistency(folder, 9, text_encoder={"hidden_act": "gelu"}, **TWO_LEVELS)


def make_fused(folder: Path) -> Path:
    """A model that a LoRA made consistent, which is guided by rows."""
    return make_stable_diffusion(folder, 10, scheduler=LCMScheduler(**SCHEDULE), **ONE_LEVEL)


second = pair_of(make_stable_diffusion_2)
levels = pair_of(make_four_levels)
repainted = pair_of(make_repainting)
changed = pair_of(make_instructed)
embedded = pair_of(make_consistent)
lcm = pair_of(make_fused)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("pair", ["stable_diffusion_2", "four_levels"])
def test_text_to_image(
    pair: str, sampler: str, settings: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    found: Pair = request.getfixturevalue(pair)
    found.check(StableDiffusionPipeline, sampler, prompt=PROMPT, height=104, width=88, **settings)


@pytest.mark.parametrize("strength", [0.2, 0.75, 1.0])
@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("pair", ["stable_diffusion_2", "four_levels"])
def test_image_to_image(
    pair: str, sampler: str, strength: float, request: pytest.FixtureRequest
) -> None:
    found: Pair = request.getfixturevalue(pair)
    found.check(
        StableDiffusionImg2ImgPipeline,
        sampler,
        prompt=[PROMPT, "3 cats"],
        image=[pixels(88, 104), pixels(88, 104, seed=1)],
        strength=strength,
        num_inference_steps=8,
    )


@pytest.mark.parametrize("strength", [0.2, 0.75, 1.0])
@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("pair", ["four_levels", "repainting"])
def test_inpainting(
    pair: str, sampler: str, strength: float, request: pytest.FixtureRequest
) -> None:
    found: Pair = request.getfixturevalue(pair)
    found.check(
        StableDiffusionInpaintPipeline,
        sampler,
        prompt=PROMPT,
        negative_prompt="blue",
        image=pixels(88, 104),
        mask_image=mask(88, 104),
        height=88,
        width=104,
        strength=strength,
        num_inference_steps=8,
        num_images_per_prompt=2,
    )


@pytest.mark.parametrize("image_guidance_scale", [0.9, 1.0, 2.5])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("sampler", ["ddim", "pndm", "euler_ancestral", "dpmsolver++"])
def test_instruct_pix2pix(
    sampler: str, settings: dict[str, Any], image_guidance_scale: float, instructed: Pair
) -> None:
    instructed.check(
        StableDiffusionInstructPix2PixPipeline,
        sampler,
        prompt=PROMPT,
        image=pixels(88, 104),
        image_guidance_scale=image_guidance_scale,
        **settings,
    )


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 8.5])
def test_latent_consistency(steps: int, guidance_scale: float, consistent: Pair) -> None:
    consistent.check(
        LatentConsistencyModelPipeline,
        prompt=PROMPT,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        height=104,
        width=88,
    )


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_latent_consistency_from_a_picture(strength: float, consistent: Pair) -> None:
    consistent.check(
        LatentConsistencyModelImg2ImgPipeline,
        prompt=PROMPT,
        image=pixels(88, 104),
        strength=strength,
        num_inference_steps=4,
    )


@pytest.mark.parametrize("guidance_scale", [1.0, 1.5])
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_a_fused_lora(steps: int, guidance_scale: float, fused: Pair) -> None:
    fused.check(
        StableDiffusionPipeline,
        prompt=PROMPT,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
    )
