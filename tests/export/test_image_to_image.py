"""Image-to-image and inpainting against diffusers' own parts, put together as its pipelines do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from fidelity import load_diffusers
from PIL import Image
from torch import Tensor

from trt_pipeline import Pipeline, TorchGenerator, trt_pipeline

STEPS, STRENGTH, GUIDANCE = 20, 0.6, 4.0
PROMPT = "a red circle above a small blue square"
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "dpmsolver++": ("DPMSolverMultistepScheduler", {"final_sigmas_type": "zero"}),
}


@pytest.fixture(scope="module")
def ours(plain_bundle: Path) -> Iterator[Pipeline]:
    with trt_pipeline(plain_bundle) as pipe:
        yield pipe


def picture(size: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)


@torch.no_grad()
def theirs(checkpoint: Path, image: Image.Image, sampler: str, mask: Tensor | None) -> Any:
    """Encode, add noise, denoise from the middle, put the known latents back."""
    pipe: Any = load_diffusers(checkpoint, rounded=False)
    name, settings = SCHEDULERS[sampler]
    scheduler = getattr(diffusers, name)(
        beta_start=0.00085, beta_end=0.012, timestep_spacing="leading", **settings
    )
    scheduler.set_timesteps(STEPS)
    first = STEPS - int(STEPS * STRENGTH)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    generator = torch.Generator().manual_seed(0)
    posterior = pipe.vqvae.encode(pixels).latent_dist
    clean = posterior.sample(generator) * pipe.vqvae.config.scaling_factor
    tokens = pipe.tokenizer(
        ["", PROMPT], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    states = pipe.bert(tokens.input_ids)[0]
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = scheduler.timesteps[first:]
    latents = scheduler.add_noise(clean, noise, timesteps[:1])
    for number, timestep in enumerate(timesteps):
        rows = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        u, c = pipe.unet(rows, timestep, encoder_hidden_states=states).sample.chunk(2)
        latents = scheduler.step(u + GUIDANCE * (c - u), timestep, latents).prev_sample
        if mask is not None:
            rest = timesteps[number + 1 :][:1]
            known = scheduler.add_noise(clean, noise, rest) if len(rest) else clean
            latents = torch.where(mask, latents, known)
    return latents.numpy()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers
@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_latents_match_diffusers(
    plain_checkpoint: Path, ours: Pipeline, sampler: str, masked: bool
) -> None:
    image, mask = picture(64), np.zeros((64, 64), np.bool_)
    mask[8:56, 13:56] = True
    latent_mask = torch.from_numpy(mask[::8, ::8])[None, None]
    expected = theirs(plain_checkpoint, image, sampler, latent_mask if masked else None)
    found = ours(
        PROMPT,
        image=image,
        mask_image=mask if masked else None,
        height=64,
        width=64,
        num_inference_steps=STEPS,
        strength=STRENGTH,
        guidance_scale=GUIDANCE,
        sampler=sampler,
        generator=TorchGenerator(0),
        output_type="latent",
        progress_bar=False,
    ).images
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-4 * abs(expected).max())
