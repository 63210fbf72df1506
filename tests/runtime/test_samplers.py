from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import BundleError, InvalidInputError
from trt_pipeline.bundle import ScheduleSpec
from trt_pipeline.samplers import COLUMNS, SamplerTable, ddim

from .tiny_bundle import ALPHAS_CUMPROD

SCHEDULE = ScheduleSpec("epsilon", 0, True, "leading", ALPHAS_CUMPROD)


def column(table: SamplerTable, name: str) -> NDArray[np.float32]:
    return table.coefficients[:, COLUMNS.index(name)]


def test_the_table_has_one_float32_row_a_step() -> None:
    table = ddim(SCHEDULE, 50)
    assert table.timesteps.dtype == table.coefficients.dtype == np.float32
    assert table.timesteps.shape == (50,)
    assert table.coefficients.shape == (50, 8)


def test_one_step_with_the_true_noise_gives_the_clean_sample() -> None:
    x0, noise = 0.7, -1.3
    alpha = ALPHAS_CUMPROD[0]
    x = np.sqrt(alpha) * x0 + np.sqrt(1 - alpha) * noise
    table = ddim(SCHEDULE, 1)
    assert column(table, "a") * x + column(table, "b0") * noise == pytest.approx(x0, abs=1e-6)


def test_eta_zero_is_deterministic() -> None:
    table = ddim(SCHEDULE, 50, eta=0)
    assert not column(table, "s").any()
    assert not table.draws_noise


def test_the_last_step_to_a_clean_sample_adds_no_noise() -> None:
    table = ddim(SCHEDULE, 50, eta=1)
    assert (column(table, "s")[:-1] > 0).all()
    assert column(table, "s")[-1] == 0
    assert table.draws_noise


def test_eta_one_has_the_posterior_variance_of_ddpm() -> None:
    alphas = np.array(ALPHAS_CUMPROD)
    alpha, before = alphas[1:], alphas[:-1]
    posterior = (1 - before) / (1 - alpha) * (1 - alpha / before)  # arXiv:2006.11239, eq. 7
    sigma = column(ddim(SCHEDULE, 1000, eta=1), "s")[-2::-1]
    np.testing.assert_allclose(sigma**2, posterior, rtol=1e-6)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize(
    ("steps", "eta", "offset", "to_one"),
    [(1, 1, 0, True), (5, 0, 1, False), (30, 0.3, 0, True), (50, 0.3, 1, False), (300, 1, 0, True)],
)
def test_a_trajectory_is_that_of_diffusers(
    prediction_type: str, spacing: str, steps: int, eta: float, offset: int, to_one: bool
) -> None:
    """1e-5 relative: diffusers keeps its coefficients in float32, the table in float64."""
    spec, theirs = both(
        prediction_type=prediction_type,
        timestep_spacing=spacing,
        steps_offset=offset,
        set_alpha_to_one=to_one,
    )
    table = ddim(spec, steps, eta)
    theirs.set_timesteps(steps)
    assert table.timesteps.tolist() == theirs.timesteps.tolist()
    ours, expected = trajectories(table, theirs, eta)
    scale = np.abs(expected).max(axis=(1, 2, 3, 4))
    assert (np.abs(ours - expected).max(axis=(1, 2, 3, 4)) <= 1e-5 * scale).all()


def test_every_step_count_visits_the_timesteps_of_diffusers() -> None:
    spec, theirs = both(timestep_spacing="leading", steps_offset=0)
    for steps in range(1, 1001):
        theirs.set_timesteps(steps)
        assert ddim(spec, steps).timesteps.tolist() == theirs.timesteps.tolist()


def both(**settings: Any) -> tuple[ScheduleSpec, Any]:
    """The schedule of the published model, for the table and for diffusers."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, clip_sample=False, **settings
    )
    alphas = tuple(theirs.alphas_cumprod.tolist())
    return replace(SCHEDULE, alphas_cumprod=alphas, **settings), theirs


def trajectories(
    table: SamplerTable, theirs: Any, eta: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latents [N, 1, 4, 2, 2] after each step, from the same outputs and the same noise."""
    import torch

    random = np.random.default_rng(0)
    x = random.standard_normal((1, 4, 2, 2), np.float32)
    y = torch.from_numpy(x)
    ours, expected = [], []
    for row, t in zip(table.coefficients, theirs.timesteps, strict=True):
        output, z = random.standard_normal((2, *x.shape), np.float32)
        p, q, a, b0, b1, b2, b3, s = row
        assert b1 == b2 == b3 == 0
        x = a * x + b0 * (p * x + q * output) + s * z
        noise = {"variance_noise": torch.from_numpy(z)} if eta else {}
        y = theirs.step(torch.from_numpy(output), t, y, eta=eta, **noise).prev_sample
        ours.append(x)
        expected.append(y.numpy())
    return np.stack(ours), np.stack(expected)


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan"), "0", True, None])
def test_eta_outside_its_range_is_refused(eta: float) -> None:
    with pytest.raises(InvalidInputError, match="eta must be a finite number from 0 to 1, got"):
        ddim(SCHEDULE, 5, eta)


def test_an_unknown_prediction_is_refused() -> None:
    with pytest.raises(BundleError, match="prediction_type is 'flow'"):
        ddim(replace(SCHEDULE, prediction_type="flow"), 5)
