"""Denoiser stage: trains the UNet on the latents of fresh scenes and their captions' states."""

from collections.abc import Iterator, Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from torch import Tensor, nn

from trt_export.shapes.stage import StagePlan, Surroundings, TrainingState, batches
from trt_pipeline.text.tokenizer import Tokenizer

CAPTION_DROPOUT = 0.12
"""Part of the scenes that come without their caption, for classifier-free guidance."""
NOISES_PER_SCENE = 4
"""Noisy copies of a scene in one step: they share the cost of drawing, encoding and reading it."""


def train_denoiser(
    unet: UNet2DConditionModel,
    bert: LDMBertModel,
    vae: AutoencoderKL,
    tokenizer: Tokenizer,
    scheduler: DDIMScheduler,
    plan: StagePlan,
    around: Surroundings,
) -> None:
    """Trains the UNet in place, from where the work folder left off; the others are frozen."""
    unet = unet.to(memory_format=torch.channels_last)
    state = TrainingState(nn.ModuleDict({"unet": unet}), plan, around)
    state.train(denoising_losses(unet, bert, vae, tokenizer, scheduler, state))


def denoising_losses(
    unet: UNet2DConditionModel,
    bert: LDMBertModel,
    vae: AutoencoderKL,
    tokenizer: Tokenizer,
    scheduler: DDIMScheduler,
    state: TrainingState,
) -> Iterator[tuple[int, Tensor]]:
    """The steps that are left of a stage, each with the UNet's loss on fresh scenes."""
    plan, around = state.plan, state.around
    vae = vae.to(around.device).requires_grad_(False)
    bert = bert.to(around.device).requires_grad_(False)
    alphas_cumprod = scheduler.alphas_cumprod.to(around.device)
    for step, images, captions in batches(plan, around, state.step):
        number = around.batch_number(step)
        generator = torch.Generator(around.device).manual_seed(number)
        texts = with_dropout(captions, torch.Generator().manual_seed(number))
        states = bert(input_ids(tokenizer, texts).to(around.device))[0]
        latents = encode(vae, images)
        yield step, denoising_loss(unet, latents, states, alphas_cumprod, generator)


def with_dropout(captions: list[str], generator: torch.Generator) -> list[str]:
    """The captions, some of them empty."""
    kept = torch.rand(len(captions), generator=generator) >= CAPTION_DROPOUT
    return [caption if keep else "" for caption, keep in zip(captions, kept.tolist(), strict=True)]


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Latents of unit standard deviation, float32 [B, 4, H/8, W/8]."""
    return vae.encode(images).latent_dist.mean * vae.config["scaling_factor"]


def input_ids(tokenizer: Tokenizer, captions: Sequence[str]) -> Tensor:
    """Token numbers, int64 [B, 77], padded and cut as the pipeline does."""
    return torch.from_numpy(tokenizer.encode(captions)).long()


def denoising_loss(
    unet: UNet2DConditionModel,
    latents: Tensor,
    states: Tensor,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Squared error of the predicted noise, NOISES_PER_SCENE copies per latent."""
    latents = latents.repeat_interleave(NOISES_PER_SCENE, dim=0)
    states = states.repeat_interleave(NOISES_PER_SCENE, dim=0)
    noisy, timesteps, noise = noised(latents, alphas_cumprod, generator)
    noise_pred = unet(noisy, timesteps, encoder_hidden_states=states).sample
    return weighted_mean((noise_pred - noise).square(), timesteps, alphas_cumprod)


def noised(
    latents: Tensor, alphas_cumprod: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents with the noise of random timesteps; those timesteps, int64 [B]; the noise."""
    timesteps = drawn_timesteps(len(latents), len(alphas_cumprod), generator)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    alpha = alphas_cumprod[timesteps][:, None, None, None]
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, timesteps, noise


def weighted_mean(error: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Mean of squared errors [B, C, h, w] of the noise, each timestep's as loss_weight says."""
    weight = loss_weight(alphas_cumprod)
    return (error.mean(dim=(1, 2, 3)) * (weight / weight.mean())[timesteps]).mean()


def drawn_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Timesteps from 0 to total - 1, int64 [count].

    One is drawn from each of `count` equal parts, in random order: less chance per step.
    """
    device = generator.device
    parts = torch.randperm(count, generator=generator, device=device)
    share = (parts + torch.rand(count, generator=generator, device=device)) / count
    return (share * total).long().clamp(max=total - 1)


def loss_weight(alphas_cumprod: Tensor) -> Tensor:
    """How much the squared error of the noise counts, float32 of the argument's shape.

    1 / √SNR, halfway between the error of the noise (1) and that of the scene (1 / SNR). Every
    timestep then has about the same share of the loss: late ones, where places are decided, and
    early ones, where it is the colours and the forms of pale shapes.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
