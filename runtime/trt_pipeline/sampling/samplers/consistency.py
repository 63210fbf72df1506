"""Samplers of consistency models, which jump to a sample in each step and add noise to go on.

m0 is the predicted sample. For image-to-image, a start leaves out the first of the same timesteps,
as diffusers' plain pipelines do, and a strength spreads all steps over lower ones, as
LatentConsistencyModelImg2ImgPipeline does.
"""

import numpy as np

from trt_pipeline import arguments
from trt_pipeline.bundle.manifest import ScheduleSpec
from trt_pipeline.sampling.samplers.table import SamplerTable, predicted_sample, tabulate
from trt_pipeline.sampling.schedule import alphas_at, distilled_timesteps

TIMESTEP_SCALING = 10.0
SIGMA_DATA = 0.5


def lcm(
    schedule: ScheduleSpec, num_inference_steps: int, *, start: int = 0, strength: float = 1.0
) -> SamplerTable:
    """Multistep sampling of latent consistency models, arXiv:2310.04378, with noise between steps.

    c_skip and c_out are those of arXiv:2303.01469, appendix C. InvalidInputError for steps that the
    models were not distilled for.
    """
    timesteps = distilled_timesteps(schedule, num_inference_steps, strength)[start:]
    levels = np.append(alphas_at(schedule, timesteps), 1.0)
    alpha, alpha_prev = levels[:-1], levels[1:]
    scaled = TIMESTEP_SCALING * timesteps
    c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    c_out = scaled / np.sqrt(scaled**2 + SIGMA_DATA**2)
    p, q = predicted_sample(schedule.prediction, alpha)
    signal, s = np.sqrt(alpha_prev), np.sqrt(1 - alpha_prev)
    a, b0 = signal * c_skip, signal * c_out
    return tabulate(timesteps, levels, len(timesteps) - 1, p=p, q=q, a=a, b0=b0, s=s)


def tcd(
    schedule: ScheduleSpec, num_inference_steps: int, eta: float = 0.0, *, start: int = 0
) -> SamplerTable:
    """Strategic stochastic sampling, arXiv:2402.19159; eta is its γ.

    eta: 0 is deterministic; 1 goes to the first timestep in each step and noises from there.
    InvalidInputError for eta outside 0..1 or steps that the models were not distilled for.
    """
    eta = arguments.real("eta", eta, 0, 1)
    timesteps = distilled_timesteps(schedule, num_inference_steps)[start:]
    following = np.append(timesteps[1:], 0)
    # In float32, as diffusers rounds down.
    below = np.floor(np.float32(1 - eta) * following.astype(np.float32)).astype(np.int64)
    alpha, alpha_prev = alphas_at(schedule, timesteps), alphas_at(schedule, following)
    alpha_below = alphas_at(schedule, below)
    p, q = predicted_sample(schedule.prediction, alpha)
    kept = np.sqrt((1 - alpha_below) / (1 - alpha))
    reached = np.sqrt(alpha_below) - kept * np.sqrt(alpha)
    signal = np.sqrt(alpha_prev / alpha_below)
    s = np.sqrt(1 - alpha_prev / alpha_below)
    levels = np.append(alpha, alpha_prev[-1])
    noisy_steps = len(timesteps) - 1 if eta > 0 else 0
    a, b0 = signal * kept, signal * reached
    return tabulate(timesteps, levels, noisy_steps, p=p, q=q, a=a, b0=b0, s=s)
