"""VAE stage: trains the autoencoder on fresh scenes."""

import logging
import math

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from trt_export.shapes.batches import draw_batch
from trt_export.shapes.stage import (
    Every,
    Journal,
    StagePlan,
    Surroundings,
    TrainingState,
    batches,
    to_model,
)

logger = logging.getLogger(__name__)

KL_WEIGHT = 1e-4
"""Weight of the mean divergence per latent beside the mean squared error per colour value."""


def train_vae(vae: AutoencoderKL, plan: StagePlan, around: Surroundings) -> None:
    """Trains the autoencoder in place, from where the work folder left off."""
    state = TrainingState(nn.ModuleDict({"vae": vae}), plan, around)
    journal, save_time = Journal(plan, around.log_seconds), Every(around.save_seconds)
    for step, images, _ in batches(plan, around, state.step):
        generator = torch.Generator(around.device).manual_seed(around.batch_number(step))
        loss = vae_loss(vae, images, generator)
        state.update(loss)
        journal.note(step, loss)
        if save_time.due():
            state.save()
            _report(state, around)
    state.save()
    _report(state, around)
    state.adopt_averages()
    vae.register_to_config(scaling_factor=measured_scaling_factor(vae, around))


def vae_loss(vae: AutoencoderKL, images: Tensor, generator: torch.Generator) -> Tensor:
    """Reconstruction error plus a light pull of the latents towards the unit normal."""
    posterior = vae.encode(images).latent_dist
    decoded = vae.decode(posterior.sample(generator)).sample
    difference = decoded - images
    divergence = posterior.kl().mean() / posterior.mean[0].numel()
    return difference.square().mean() + 0.1 * difference.abs().mean() + KL_WEIGHT * divergence


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
