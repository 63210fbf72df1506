"""Refinement stage: the denoiser learns from its own pictures which of them show what they should.

It draws pictures of fresh prompts, reads them, and moves its prediction towards right ones and away
from wrong ones: DiffusionNFT (arXiv:2509.16117) with β = 1, on guided predictions. Beside them it
goes on learning from drawn scenes, so that its pictures stay theirs. Wrong pictures are measured
from the network that the stage began with: one that follows the training runs away.
"""

import copy
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from numpy.typing import NDArray
from torch import Tensor, nn

from trt_export.shapes.denoiser import (
    NOISES_PER_SCENE,
    denoising_losses,
    input_ids,
    noised,
    weighted_mean,
)
from trt_export.shapes.judge import judge
from trt_export.shapes.reader import read_scene, redrawn
from trt_export.shapes.scenes import Scene, random_double, random_single
from trt_export.shapes.stage import Every, StagePlan, Surroundings, TrainingState
from trt_pipeline.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

SAMPLING_STEPS = 10
"""DDIM steps of a picture: about as many come out right as with 50."""
PICTURES_PER_SCENE = 2
"""Pictures painted for every scene drawn; most are right, and most of those are left out."""
DOUBLES = 0.75
"""Part of the prompts with two shapes, which come out wrong more often."""
GUIDANCE_SCALES = (1.0, 2.0)
"""Least and largest scale that a picture is painted with."""
MAX_REDRAWN_ERROR = 12.0
"""Root mean square difference, of 255, of a right picture from the scene it is read as.

The autoencoder alone makes up to 11. It keeps shapes too faint to be read from passing.
"""


@dataclass(frozen=True, slots=True)
class Paintings:
    """The denoiser's own pictures, and whether they are right."""

    latents: Tensor
    """float32 [B, 4, h, w]."""
    states: Tensor
    """What they should show, float32 [B, 77, width]."""
    guidance_scales: Tensor
    """float32 [B, 1, 1, 1]."""
    right: Tensor
    """bool [B]."""

    def balanced(self, generator: torch.Generator) -> "Paintings":
        """As many right as wrong ones: all of the rarer kind, some of the other."""
        order = torch.randperm(len(self.right), generator=generator, device=generator.device)
        right, wrong = order[self.right[order]], order[~self.right[order]]
        count = min(len(right), len(wrong))
        kept = torch.cat([right[:count], wrong[:count]])
        return Paintings(
            self.latents[kept], self.states[kept], self.guidance_scales[kept], self.right[kept]
        )


def refine_denoiser(
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
    former = copy.deepcopy(unet).to(around.device).requires_grad_(False)
    painter = copy.deepcopy(former)
    state = TrainingState(nn.ModuleDict({"unet": unet}), plan, around)
    bert = bert.to(around.device).requires_grad_(False)
    alphas_cumprod = scheduler.alphas_cumprod.to(around.device)
    no_text = bert(input_ids(tokenizer, [""]).to(around.device))[0]
    report = Every(6 * around.log_seconds)
    counts: Counter[tuple[int, bool]] = Counter()

    def losses() -> Iterator[tuple[int, Tensor]]:
        for step, loss in denoising_losses(unet, bert, vae, tokenizer, scheduler, state):
            number = around.batch_number(step)
            rng = np.random.default_rng([around.seed, *plan.name.encode(), number, 1])
            generator = torch.Generator(around.device).manual_seed(int(rng.integers(2**63)))
            torch._foreach_copy_(list(painter.parameters()), state.averages)
            scenes = random_prompts(rng, PICTURES_PER_SCENE * plan.scenes // around.processes)
            prompts = [scene.caption(rng) for scene in scenes]
            states = bert(input_ids(tokenizer, prompts).to(around.device))[0]
            paintings = painted(painter, vae, scheduler, scenes, states, no_text, generator)
            counts.update(
                (len(s.shapes), bool(r)) for s, r in zip(scenes, paintings.right, strict=True)
            )
            if report.due():
                _report(counts)
                counts.clear()
            kept = paintings.balanced(generator)
            if len(kept.right):
                own = refinement_loss(unet, former, kept, no_text, alphas_cumprod, generator)
                loss = loss + own
            yield step, loss

    state.train(losses())


def random_prompts(rng: np.random.Generator, count: int) -> list[Scene]:
    """Scenes that captions are made of, none of their combinations held out."""
    return [
        random_double(rng) if rng.random() < DOUBLES else random_single(rng) for _ in range(count)
    ]


@torch.no_grad()
def painted(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    scheduler: DDIMScheduler,
    scenes: Sequence[Scene],
    states: Tensor,
    no_text: Tensor,
    generator: torch.Generator,
) -> Paintings:
    """A picture of each scene's caption, from its text states, as the pipeline makes it."""
    side, device = unet.config["sample_size"], states.device
    shape = (len(states), unet.config["in_channels"], side, side)
    latents = torch.randn(shape, generator=generator, device=device)
    scales = torch.empty((len(states), 1, 1, 1), device=device)
    scales.uniform_(*GUIDANCE_SCALES, generator=generator)
    scheduler.set_timesteps(SAMPLING_STEPS)
    both = torch.cat([no_text.expand_as(states), states])
    for timestep in scheduler.timesteps:
        rows = unet(torch.cat([latents, latents]), timestep, encoder_hidden_states=both).sample
        without, with_text = rows.chunk(2)
        noise_pred = without + scales * (with_text - without)
        latents = scheduler.step(noise_pred, timestep, latents).prev_sample
    pictures = decoded(vae, latents)
    right = [is_right(scene, picture) for scene, picture in zip(scenes, pictures, strict=True)]
    return Paintings(latents, states, scales, torch.tensor(right, device=device))


@torch.no_grad()
def decoded(vae: AutoencoderKL, latents: Tensor) -> NDArray[np.uint8]:
    """Pictures, uint8 [B, H, W, 3]."""
    images = vae.decode(latents / vae.config["scaling_factor"]).sample
    pixels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    array: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return array


def is_right(scene: Scene, picture: NDArray[np.uint8]) -> bool:
    """Whether a picture shows all that the scene's caption says, and little that no scene has."""
    reading = read_scene(picture)
    if not all(judge(scene, reading).values()):
        return False
    error = np.sqrt(np.square(picture - redrawn(reading)).mean())
    return bool(error <= MAX_REDRAWN_ERROR)


def refinement_loss(
    unet: UNet2DConditionModel,
    former: UNet2DConditionModel,
    paintings: Paintings,
    no_text: Tensor,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Squared distance of the guided prediction from a goal, NOISES_PER_SCENE copies per picture.

    The former network's prediction lies between two goals: the noise that leads to a right picture,
    and as far on the other side of it the one that leads away from a wrong one.
    """
    latents = paintings.latents.repeat_interleave(NOISES_PER_SCENE, dim=0)
    states = paintings.states.repeat_interleave(NOISES_PER_SCENE, dim=0)
    scales = paintings.guidance_scales.repeat_interleave(NOISES_PER_SCENE, dim=0)
    sign = (paintings.right * 2.0 - 1).repeat_interleave(NOISES_PER_SCENE)[:, None, None, None]
    noisy, timesteps, noise = noised(latents, alphas_cumprod, generator)
    with torch.no_grad():
        without = former(noisy, timesteps, encoder_hidden_states=no_text.expand_as(states)).sample
        before = former(noisy, timesteps, encoder_hidden_states=states).sample
        before = without + scales * (before - without)
        goal = before + sign * (noise - before)
    noise_pred = unet(noisy, timesteps, encoder_hidden_states=states).sample
    guided = without + scales * (noise_pred - without)
    # Over the scale, as the prediction's own share of the gradient grows with it.
    return weighted_mean((guided - goal).square() / scales, timesteps, alphas_cumprod)


def _report(counts: Counter[tuple[int, bool]]) -> None:
    for shapes in (1, 2):
        right, of = counts[shapes, True], counts[shapes, True] + counts[shapes, False]
        logger.info("refinement: %d of %d pictures of %d shapes right", right, of, shapes)
