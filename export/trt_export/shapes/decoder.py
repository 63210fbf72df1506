"""Decoder stage: the decoder learns to draw scenes from latents as the denoiser leaves them.

Exact latents are all that it has seen before. From those of a denoiser, which are always a little
off, it draws shapes in patches of two colours, and pale ones blurred.
"""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from torch import Tensor, nn

from trt_export.shapes.denoiser import encode, input_ids
from trt_export.shapes.stage import Every, Journal, StagePlan, Surroundings, TrainingState, batches
from trt_export.shapes.vae import drawing_error
from trt_pipeline.pipelines.tokenizer import Tokenizer

MAX_TIMESTEP = 300
"""Its noise leaves open how a shape looks, but hardly ever where it lies."""
DENOISING_STEPS = 3
EXACT_SHARE = 0.4
"""Part of the scenes that are drawn from their exact latents."""


def train_decoder(
    unet: UNet2DConditionModel,
    bert: LDMBertModel,
    vae: AutoencoderKL,
    tokenizer: Tokenizer,
    scheduler: DDIMScheduler,
    plan: StagePlan,
    around: Surroundings,
) -> None:
    """Trains the VAE's decoder in place, from where the work folder left off; all else is frozen.

    The latents stay what they are.
    """
    for network in (vae, unet, bert):
        network.to(around.device).requires_grad_(False)
    parts = {"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}
    state = TrainingState(nn.ModuleDict(parts).requires_grad_(True), plan, around)
    alphas_cumprod = scheduler.alphas_cumprod.to(around.device)
    journal, save_time = Journal(plan, around.log_seconds), Every(around.save_seconds)
    for step, images, captions in batches(plan, around, state.step):
        generator = torch.Generator(around.device).manual_seed(around.batch_number(step))
        states = bert(input_ids(tokenizer, captions).to(around.device))[0]
        exact = encode(vae, images)
        left = denoised(unet, exact, states, alphas_cumprod, generator)
        is_exact = torch.rand(len(exact), generator=generator, device=exact.device) < EXACT_SHARE
        latents = torch.where(is_exact[:, None, None, None], exact, left)
        drawn = vae.decode(latents / vae.config["scaling_factor"]).sample
        loss = drawing_error(drawn, images)
        state.update(loss)
        journal.note(step, loss)
        if save_time.due():
            state.save()
    state.save()
    state.adopt_averages()


@torch.no_grad()
def denoised(
    unet: UNet2DConditionModel,
    latents: Tensor,
    states: Tensor,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Latents [B, C, h, w] after noise of a random timestep each, and DDIM steps that remove it."""
    first = torch.rand(len(latents), generator=generator, device=latents.device) * MAX_TIMESTEP
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    for number in range(DENOISING_STEPS):
        timesteps = (first * (1 - number / DENOISING_STEPS)).long()
        alpha = alphas_cumprod[timesteps][:, None, None, None]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        noise = unet(noisy, timesteps, encoder_hidden_states=states).sample
        latents = (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()
    return latents
