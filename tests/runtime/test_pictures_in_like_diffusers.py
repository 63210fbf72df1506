"""Pictures in: the same draws, steps and sizes as in diffusers' pipelines of Stable Diffusion."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from tests.stable_diffusion import (
    SCHEDULERS,
    assert_same,
    exported,
    make_inpaint,
    make_instruct_pix2pix,
    make_latent_consistency,
    make_stable_diffusion,
    theirs,
)
from trt_pipeline import TorchGenerator, trt_pipeline

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates, and warns of images that
# several prompts share.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You have passed:FutureWarning"),
]

Model = tuple[Path, Path]
NOISY = "euler_ancestral"
"""A sampler that shows every draw in its pictures."""
TWO: dict[str, Any] = {"prompt": ["a red circle", "3 cats"], "num_inference_steps": 4}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return exported(tmp_path_factory, make_stable_diffusion)


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return exported(tmp_path_factory, make_inpaint)


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return exported(tmp_path_factory, make_instruct_pix2pix)


@pytest.fixture(scope="module")
def consistent(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return exported(tmp_path_factory, make_latent_consistency)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def mask(width: int, height: int, right: int = 3) -> Image.Image:
    """White where the picture is painted again; its edges cut through latents."""
    white = np.zeros((height, width), np.uint8)
    white[height // 3 + 3 :, : width // 2 + right] = 255
    return Image.fromarray(white)


def alone_or_listed(given: list[Image.Image]) -> Any:
    """One picture is for all prompts, several are for one each."""
    return given if len(given) > 1 else given[0]


def check(
    kind: Any, made: Model, sampler: str, seeds: int | list[int] = 0, **settings: Any
) -> None:
    """Compare the pictures of one generator, or of a list of them."""
    checkpoint, bundle = made
    pipe = theirs(kind, checkpoint, sampler)
    listed = seeds if isinstance(seeds, list) else [seeds]
    given = [torch.Generator().manual_seed(seed) for seed in listed]
    own = [TorchGenerator(seed) for seed in listed]
    one = not isinstance(seeds, list)
    expected = pipe(**settings, generator=given[0] if one else given, output_type="np").images
    ours = {**settings, "sampler": sampler, "generator": own[0] if one else own}
    with trt_pipeline(bundle, backend="onnxruntime", verify="none", threads=1) as opened:
        found = opened(**ours, output_type="np", progress_bar=False).images
    assert_same(found, expected)


@pytest.mark.parametrize("sampler", [*SCHEDULERS])
def test_a_picture_begins_in_the_middle_of_a_sampler(plain: Model, sampler: str) -> None:
    check(
        StableDiffusionImg2ImgPipeline,
        plain,
        sampler,
        prompt="a red circle",
        image=picture(64, 64),
        num_inference_steps=8,
        strength=0.7,
    )


@pytest.mark.parametrize("sampler", [*SCHEDULERS])
def test_a_part_is_painted_again_with_a_sampler(plain: Model, sampler: str) -> None:
    check(
        StableDiffusionInpaintPipeline,
        plain,
        sampler,
        prompt="a red circle",
        image=picture(64, 64),
        mask_image=mask(64, 64),
        height=64,
        width=64,
        num_inference_steps=7,
        strength=0.6,
    )


def test_an_image_has_its_own_size_rounded_down(plain: Model) -> None:
    small = picture(77, 50)
    check(StableDiffusionImg2ImgPipeline, plain, NOISY, prompt="red", image=small)


def test_an_image_with_a_mask_has_the_model_s_size(plain: Model) -> None:
    given: dict[str, Any] = {
        "image": picture(200, 120),
        "mask_image": mask(200, 120),
        "num_inference_steps": 3,
    }
    check(StableDiffusionInpaintPipeline, plain, NOISY, prompt="red", **given)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_mask_is_resized_before_it_is_black_and_white(inpainting: Model, mode: str) -> None:
    greys = picture(150, 90, 5).convert("L")
    given: dict[str, Any] = {"image": picture(150, 90), "mask_image": greys.convert(mode)}
    size: dict[str, Any] = {"height": 64, "width": 72, "num_inference_steps": 3}
    check(StableDiffusionInpaintPipeline, inpainting, NOISY, prompt="red", **given, **size)


@pytest.mark.parametrize("seeds", [5, [5, 6]])
@pytest.mark.parametrize("images", [1, 2])
def test_generators_draw_for_images_as_in_diffusers(
    plain: Model, seeds: int | list[int], images: int
) -> None:
    image = alone_or_listed([picture(64, 64, seed) for seed in range(images)])
    check(StableDiffusionImg2ImgPipeline, plain, NOISY, seeds, image=image, **TWO)


@pytest.mark.parametrize("seeds", [5, [5, 6]])
@pytest.mark.parametrize(("images", "masks"), [(1, 1), (2, 2), (2, 1), (1, 2)])
@pytest.mark.parametrize("kind", ["plain", "inpainting"])
def test_generators_draw_for_masked_images_as_in_diffusers(
    seeds: int | list[int], images: int, masks: int, kind: str, request: pytest.FixtureRequest
) -> None:
    if isinstance(seeds, list) and images < masks:
        pytest.skip("diffusers itself has too few generators for what it encodes")
    check(
        StableDiffusionInpaintPipeline,
        request.getfixturevalue(kind),
        NOISY,
        seeds,
        image=alone_or_listed([picture(64, 64, seed) for seed in range(images)]),
        mask_image=alone_or_listed([mask(64, 64, 9 * number) for number in range(masks)]),
        height=64,
        width=64,
        strength=0.8,
        **TWO,
    )


@pytest.mark.parametrize("seeds", [5, [5, 6]])
def test_generators_draw_nothing_for_an_image_that_is_changed(
    changing: Model, seeds: int | list[int]
) -> None:
    kind = StableDiffusionInstructPix2PixPipeline
    check(kind, changing, NOISY, seeds, image=picture(72, 64), image_guidance_scale=1.2, **TWO)


@pytest.mark.parametrize("strength", [0.3, 0.8])
def test_a_latent_consistency_model_takes_all_its_steps(consistent: Model, strength: float) -> None:
    kind = LatentConsistencyModelImg2ImgPipeline
    given: dict[str, Any] = {
        "image": picture(64, 72),
        "strength": strength,
        "num_inference_steps": 4,
    }
    check(kind, consistent, "lcm", prompt="a red circle", guidance_scale=5.0, **given)


def test_given_latents_are_noise_of_the_first_level(plain: Model) -> None:
    checkpoint, bundle = plain
    noise = np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32)
    settings: dict[str, Any] = {"prompt": "red", "num_inference_steps": 3, "output_type": "np"}
    pipe = theirs(StableDiffusionPipeline, checkpoint)
    pipe.scheduler = EulerDiscreteScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing"
    )
    size: dict[str, Any] = {"height": 64, "width": 64}
    expected = pipe(latents=torch.from_numpy(noise), **settings, **size).images
    ours: dict[str, Any] = {
        "sampler": "euler",
        "timestep_spacing": "trailing",
        "progress_bar": False,
    }
    with trt_pipeline(bundle, backend="onnxruntime", verify="none", threads=1) as opened:
        found = opened(latents=noise, **settings, **size, **ours).images
    assert_same(found, expected)
