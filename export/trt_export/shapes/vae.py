"""VAE stage: trains the autoencoder on fresh scenes."""

import copy
import logging
import math
from collections.abc import Iterator

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from trt_export.shapes.batches import draw_batch
from trt_export.shapes.reader import MAX_BLACK, MIN_VIVIDNESS
from trt_export.shapes.stage import StagePlan, Surroundings, TrainingState, batches, to_model

logger = logging.getLogger(__name__)

UNTRAINED_SCALING_FACTOR = 0.18215
"""What diffusers takes unless told otherwise."""
KL_WEIGHT = 1e-4
"""Weight of the mean divergence per latent beside the mean error per colour value."""
VIVID = MIN_VIVIDNESS / 127.5
"""Least distance between the strongest and the weakest channel in a coloured shape, in -1..1."""
DARK = MAX_BLACK / 127.5 - 1
"""Largest channel in a black shape, in -1..1."""
LEAST_SHARE = 0.03
"""Part of the picture below which shapes get no larger weight."""
TETHER_WEIGHT = 1.0
"""Weight of the latents' mean squared distance from those that a denoiser was trained on."""


def train_vae(vae: AutoencoderKL, plan: StagePlan, around: Surroundings) -> None:
    """Trains the autoencoder in place, from where the work folder left off.

    One that has a scaling factor already has been trained before, and its latents belong to a
    denoiser: they are kept near what they were.
    """
    former = copy.deepcopy(vae).to(around.device).requires_grad_(False) if is_trained(vae) else None
    state = TrainingState(nn.ModuleDict({"vae": vae}), plan, around)

    def losses() -> Iterator[tuple[int, Tensor]]:
        for step, images, _ in batches(plan, around, state.step):
            generator = torch.Generator(around.device).manual_seed(around.batch_number(step))
            yield step, vae_loss(vae, images, generator, former)

    state.train(losses(), on_save=lambda: _report(state, around))
    if former is None:
        vae.register_to_config(scaling_factor=measured_scaling_factor(vae, around))


def is_trained(vae: AutoencoderKL) -> bool:
    """Whether a scaling factor has been measured."""
    return bool(vae.config["scaling_factor"] != UNTRAINED_SCALING_FACTOR)


def vae_loss(
    vae: AutoencoderKL,
    images: Tensor,
    generator: torch.Generator,
    former: AutoencoderKL | None = None,
) -> Tensor:
    """Reconstruction error plus a light pull of the latents towards the unit normal.

    With a former autoencoder also one towards its latents.
    """
    posterior = vae.encode(images).latent_dist
    difference = vae.decode(posterior.sample(generator)).sample - images
    error = (difference.abs() + 2 * difference.square()) * shape_weight(images)
    divergence = posterior.kl().mean() / posterior.mean[0].numel()
    loss = error.mean() + KL_WEIGHT * divergence
    if former is None:
        return loss
    with torch.no_grad():
        anchor = former.encode(images).latent_dist.mean
    moved = (posterior.mean - anchor) * former.config["scaling_factor"]
    return loss + TETHER_WEIGHT * moved.square().mean()


def shape_weight(images: Tensor) -> Tensor:
    """How much each pixel counts, [B, 1, H, W]: all shapes together as much as all the rest.

    A small shape fills a fiftieth of a picture, and a pink one differs little from gray: without
    this their forms and colours were lost.
    """
    strongest, weakest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    shapes = ((strongest - weakest >= VIVID) | (strongest <= DARK)).float()
    shapes = torch.nn.functional.max_pool2d(shapes, 3, stride=1, padding=1)
    return 1 + shapes / shapes.mean(dim=(1, 2, 3), keepdim=True).clamp(min=LEAST_SHARE)


@torch.no_grad()
def measured_psnr(vae: AutoencoderKL, around: Surroundings, count: int = 64) -> float:
    """Peak signal-to-noise ratio in dB on scenes that no step trains on."""
    images = _fresh_scenes(around, count)
    decoded = vae.decode(vae.encode(images).latent_dist.mean).sample.clamp(-1, 1)
    error = ((decoded - images) / 2).square().mean().item()
    return -10 * math.log10(error)


@torch.no_grad()
def measured_scaling_factor(vae: AutoencoderKL, around: Surroundings, count: int = 512) -> float:
    """The factor that gives the latents a standard deviation of one."""
    latents = vae.encode(_fresh_scenes(around, count)).latent_dist.mean
    return round(1 / latents.std().item(), 5)


def _fresh_scenes(around: Surroundings, count: int) -> Tensor:
    pixels, _ = draw_batch(0, seed=around.seed, stage="test", count=count)
    return to_model(pixels, around.device)


def _report(state: TrainingState, around: Surroundings) -> None:
    if around.rank > 0:
        return
    with state.averaged() as networks:
        logger.info("vae: step %d, %.2f dB", state.step, measured_psnr(networks["vae"], around))
