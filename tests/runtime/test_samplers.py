from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import InvalidInputError
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec, TimestepSpacing
from trt_pipeline.sampling.samplers import (
    COLUMNS,
    SAMPLERS,
    SamplerTable,
    ddim,
    ddpm,
    ddpm_fixed_large,
    dpmsolver,
    dpmsolver_karras,
    euler,
    euler_ancestral,
    euler_karras,
    lcm,
    lms,
    pndm,
    sampler_table,
    tcd,
    unipc,
)

from .tiny_bundle import ALPHAS_CUMPROD

SCHEDULE = ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", ALPHAS_CUMPROD)


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
    assert table.noisy_steps == 0


def test_the_last_step_to_a_clean_sample_adds_no_noise() -> None:
    table = ddim(SCHEDULE, 50, eta=1)
    assert (column(table, "s")[:-1] > 0).all()
    assert column(table, "s")[-1] == 0
    assert table.noisy_steps == 50


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
        prediction_type,
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
    spec, theirs = both("epsilon", timestep_spacing="leading", steps_offset=0)
    for steps in range(1, 1001):
        theirs.set_timesteps(steps)
        assert ddim(spec, steps).timesteps.tolist() == theirs.timesteps.tolist()


def both(prediction_type: str, **settings: Any) -> tuple[ScheduleSpec, Any]:
    """The schedule of the published model, for the table and for diffusers."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type=prediction_type,
        **settings,
    )
    alphas = tuple(theirs.alphas_cumprod.tolist())
    prediction = PREDICTION_TYPES[prediction_type]
    return replace(SCHEDULE, prediction=prediction, alphas_cumprod=alphas, **settings), theirs


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


def test_ddpm_takes_the_steps_of_ddim_with_eta_1() -> None:
    ours, theirs = ddpm(SCHEDULE, 50), ddim(SCHEDULE, 50, 1.0)
    assert (ours.noisy_steps, theirs.noisy_steps) == (49, 50)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    np.testing.assert_allclose(column(ours, "s"), column(theirs, "s"), rtol=1e-6)
    np.testing.assert_allclose(_mean(ours), _mean(theirs), atol=1e-6)


def _mean(table: SamplerTable) -> NDArray[np.float64]:
    """What each step makes of latents 1 and an output of 0.5, without noise."""
    p, q, a, b0 = table.coefficients[:, :4].T.astype(np.float64)
    return np.asarray(a + b0 * (p + 0.5 * q))


def test_ddpm_with_the_large_variance_draws_more_noise_around_the_same_mean() -> None:
    small, large = ddpm(SCHEDULE, 50), ddpm_fixed_large(SCHEDULE, 50)
    np.testing.assert_array_equal(_mean(small), _mean(large))
    assert (column(large, "s")[:-1] > column(small, "s")[:-1]).all()
    betas = 1 - np.array(ALPHAS_CUMPROD)[[980, 20]] / np.array(ALPHAS_CUMPROD)[[960, 0]]
    np.testing.assert_allclose(column(large, "s")[[0, -2]] ** 2, betas, rtol=1e-6)


@pytest.mark.parametrize("sampler", [ddpm, ddpm_fixed_large])
def test_ddpm_adds_no_noise_at_timestep_0(sampler: Any) -> None:
    assert column(sampler(SCHEDULE, 50), "s")[-1] == 0


def test_ddpm_with_the_large_variance_adds_noise_above_timestep_0() -> None:
    """As diffusers, which looks at the timestep and not at whether it is the last."""
    table = ddpm_fixed_large(replace(SCHEDULE, steps_offset=1), 50)
    assert table.timesteps[-1] == 1
    assert column(table, "s")[-1] == pytest.approx(np.sqrt(1 - ALPHAS_CUMPROD[1]))


@pytest.mark.parametrize("sampler", [ddim, tcd])
@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan"), "0", True, None])
def test_eta_outside_its_range_is_refused(sampler: Any, eta: float) -> None:
    with pytest.raises(InvalidInputError, match="eta must be a finite number from 0 to 1, got"):
        sampler(SCHEDULE, 5, eta)


def test_lcm_lands_on_the_predicted_sample_and_noises_it_up_to_the_next_level() -> None:
    """At the boundary, c_skip is 1; timestep 259, the last of 4, is far above it."""
    table = lcm(SCHEDULE, 4)
    a, b0, s = (column(table, name) for name in ("a", "b0", "s"))
    assert table.timesteps.tolist() == [999, 759, 499, 259]
    levels = np.array([*np.array(ALPHAS_CUMPROD)[[999, 759, 499, 259]], 1])
    np.testing.assert_allclose(table.alphas_cumprod, levels, rtol=1e-6)
    np.testing.assert_allclose(b0, np.sqrt(levels[1:]), rtol=1e-6)
    np.testing.assert_allclose(s, np.sqrt(1 - levels[1:]), rtol=1e-6)
    assert (a < 1e-5).all()


def test_lcm_keeps_the_latents_at_the_first_timestep() -> None:
    """arXiv:2303.01469, section 2: a consistency function is the identity at the boundary."""
    short = replace(SCHEDULE, alphas_cumprod=ALPHAS_CUMPROD[:50])
    table = lcm(short, 50)
    assert table.timesteps[-1] == 0
    assert (column(table, "a")[-1], column(table, "b0")[-1]) == (1, 0)


def test_tcd_without_noise_takes_steps_of_ddim() -> None:
    table = tcd(SCHEDULE, 4)
    assert table.noisy_steps == 0
    x, noise = 0.4, 0.9
    p, q, a, b0 = table.coefficients[0, :4].astype(np.float64)
    alpha, then = np.array(ALPHAS_CUMPROD)[[999, 759]]
    x0 = (x - np.sqrt(1 - alpha) * noise) / np.sqrt(alpha)
    expected = np.sqrt(then) * x0 + np.sqrt(1 - then) * noise
    assert a * x + b0 * (p * x + q * noise) == pytest.approx(expected, rel=1e-5)


def test_the_noise_of_tcd_completes_the_level_and_leaves_out_the_last_step() -> None:
    """What is left of the noise in the latents, and what is drawn, are noise of the next level."""
    table = tcd(SCHEDULE, 8, 0.3)
    assert table.noisy_steps == 7
    alpha, then = table.alphas_cumprod[:-1], table.alphas_cumprod[1:]
    kept = column(table, "a") * np.sqrt(1 - alpha)
    np.testing.assert_allclose(kept**2 + column(table, "s") ** 2, 1 - then, rtol=1e-4)
    assert column(table, "s")[-1] == 0
    assert then[-1] == pytest.approx(ALPHAS_CUMPROD[0])


def test_the_noise_of_tcd_grows_with_eta() -> None:
    drawn = [column(tcd(SCHEDULE, 8, eta), "s")[:-1] for eta in (0, 0.3, 1)]
    assert (drawn[0] == 0).all()
    assert (drawn[0] < drawn[1]).all()
    assert (drawn[1] < drawn[2]).all()


def test_karras_levels_of_euler_end_where_its_own_do() -> None:
    """Unlike DPM-Solver++'s, which begin at the end of the schedule whatever the spacing."""
    plain, karras = euler(SCHEDULE, 5), euler_karras(SCHEDULE, 5)
    assert plain.timesteps[[0, -1]].tolist() == [800, 0]
    assert karras.timesteps[[0, -1]] == pytest.approx([800, 0], abs=1e-9)
    assert karras.alphas_cumprod[[0, -2, -1]].tolist() == plain.alphas_cumprod[[0, -2, -1]].tolist()


def test_the_timesteps_of_euler_on_karras_levels_are_not_rounded() -> None:
    timesteps = euler_karras(replace(SCHEDULE, timestep_spacing="trailing"), 5).timesteps
    assert (timesteps[1:-1] % 1 != 0).all()


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "lms", "dpmsolver++", "unipc"])
def test_the_last_step_lands_on_the_predicted_sample(sampler: str) -> None:
    table = sampler_table(sampler, SCHEDULE, 1)
    x0, noise = 0.7, -1.3
    alpha = ALPHAS_CUMPROD[int(table.timesteps[-1])]
    x = np.sqrt(alpha) * x0 + np.sqrt(1 - alpha) * noise
    p, q, a, b0 = table.coefficients[-1, :4].astype(np.float64)
    assert a * x + b0 * (p * x + q * noise) == pytest.approx(x0, abs=1e-5)
    assert not table.coefficients[-1, 4:].any()


@pytest.mark.parametrize(
    "sampler",
    ["euler", "euler_karras", "lms", "dpmsolver++", "dpmsolver++_karras", "unipc", "lcm"],
)
def test_the_true_noise_leads_to_the_clean_sample(sampler: str) -> None:
    """Along a straight path the history changes nothing, whatever the order."""
    table = sampler_table(sampler, SCHEDULE, 20)
    x0, noise = 0.7, -1.3
    alpha = ALPHAS_CUMPROD[int(table.timesteps[0])]
    x = np.sqrt(alpha) * x0 + np.sqrt(1 - alpha) * noise
    history = np.zeros(3)
    for p, q, a, b0, *earlier, s in table.coefficients.astype(np.float64):
        m0 = p * x + q * noise
        x = a * x + b0 * m0 + earlier @ history + s * noise
        history = np.array([m0, *history[:2]])
    assert x == pytest.approx(x0, abs=1e-5)


def test_euler_is_ddim_without_eta_but_for_the_end() -> None:
    ours, theirs = euler(SCHEDULE, 20), ddim(SCHEDULE, 20)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    np.testing.assert_allclose(ours.coefficients[:-1], theirs.coefficients[:-1], atol=1e-6)


def test_the_first_step_of_lms_is_eulers() -> None:
    np.testing.assert_array_equal(
        lms(SCHEDULE, 5).coefficients[0], euler(SCHEDULE, 5).coefficients[0]
    )


def test_the_order_of_lms_grows_to_four() -> None:
    used = lms(SCHEDULE, 6).coefficients[:, 3:7] != 0
    assert used.sum(axis=1).tolist() == [1, 2, 3, 4, 4, 4]


def test_lms_on_even_noise_levels_has_the_weights_of_adams_and_bashforth() -> None:
    sigmas = np.array([4.0, 3.0, 2.0, 1.0])
    schedule = replace(SCHEDULE, alphas_cumprod=tuple(1 / (1 + sigmas[::-1] ** 2)))
    row = lms(schedule, 4).coefficients[3, 3:7]
    np.testing.assert_allclose(row, -np.array([55, -59, 37, -9]) / 24, rtol=1e-6)


def test_the_noise_of_euler_ancestral_completes_the_level() -> None:
    table = euler_ancestral(SCHEDULE, 20)
    assert table.noisy_steps == 20
    alpha = np.array(ALPHAS_CUMPROD)[table.timesteps.astype(int)]
    kept = column(table, "a") * np.sqrt(1 - alpha) + column(table, "b0")
    left = kept[:-1] ** 2 + column(table, "s")[:-1] ** 2
    np.testing.assert_allclose(left, 1 - alpha[1:], rtol=1e-5)
    assert column(table, "s")[-1] == 0


def test_pndm_repeats_its_second_timestep() -> None:
    assert pndm(SCHEDULE, 4).timesteps.tolist() == [750, 500, 500, 250, 0]
    assert pndm(SCHEDULE, 1).timesteps.tolist() == [0]


def test_pndm_keeps_what_the_model_gives_but_in_the_repeated_step() -> None:
    table = pndm(SCHEDULE, 10)
    assert np.flatnonzero(column(table, "p")).tolist() == [1]
    assert np.flatnonzero(column(table, "q") != 1).tolist() == [1]


def test_pndm_settles_on_adams_and_bashforth() -> None:
    row = pndm(SCHEDULE, 10).coefficients[5, 3:7]
    np.testing.assert_allclose(row / row[0], np.array([55, -59, 37, -9]) / 55, rtol=1e-6)


@pytest.mark.parametrize("sampler", [dpmsolver, dpmsolver_karras])
def test_the_ends_of_dpmsolver_are_of_first_order(sampler: Any) -> None:
    b1 = column(sampler(SCHEDULE, 20), "b1")
    assert b1[0] == b1[-1] == 0
    assert (b1[1:-1] < 0).all()


def test_dpmsolver_in_the_first_order_is_ddim() -> None:
    x, noise = 0.4, 0.9
    table = dpmsolver(SCHEDULE, 4)
    p, q, a, b0 = table.coefficients[0, :4]
    alpha, then = np.array(ALPHAS_CUMPROD)[table.timesteps[:2].astype(int)]
    x0 = (x - np.sqrt(1 - alpha) * noise) / np.sqrt(alpha)
    ddim_step = np.sqrt(then) * x0 + np.sqrt(1 - then) * noise
    assert a * x + b0 * (p * x + q * noise) == pytest.approx(ddim_step, rel=1e-5)


def test_the_first_step_of_unipc_is_that_of_dpmsolver() -> None:
    np.testing.assert_array_equal(
        unipc(SCHEDULE, 5).coefficients[0], dpmsolver(SCHEDULE, 5).coefficients[0]
    )


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_timestep_spacing_has_no_effect_on_karras_levels(spacing: TimestepSpacing) -> None:
    spaced = dpmsolver_karras(replace(SCHEDULE, timestep_spacing=spacing), 5)
    np.testing.assert_array_equal(spaced.coefficients, dpmsolver_karras(SCHEDULE, 5).coefficients)


def test_the_timesteps_of_karras_levels_are_whole() -> None:
    assert dpmsolver_karras(SCHEDULE, 5).timesteps.tolist() == [999, 784, 449, 75, 0]


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
@pytest.mark.parametrize("sampler", ["euler", "euler_karras", "euler_ancestral", "lms"])
def test_noise_is_scaled_where_diffusers_scales_it(sampler: str, spacing: TimestepSpacing) -> None:
    assert sampler_table(sampler, SCHEDULE, 5).initial_scale == 1
    table = sampler_table(sampler, replace(SCHEDULE, timestep_spacing=spacing), 5)
    assert table.initial_scale == pytest.approx(np.sqrt(1 - ALPHAS_CUMPROD[-1]))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_refuses_impossible_step_counts(sampler: str) -> None:
    for steps in (0, 1001, 2.5):
        with pytest.raises(InvalidInputError, match="num_inference_steps must be an integer from"):
            sampler_table(sampler, SCHEDULE, steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", ["dpmsolver++", "unipc"])
def test_as_many_steps_as_training_timesteps_leave_no_end(sampler: str) -> None:
    with pytest.raises(InvalidInputError, match="from 1 to 999, got 1000"):
        sampler_table(sampler, SCHEDULE, 1000)


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"sampler must be one of ddim, .*, got 'heun'"):
        sampler_table("heun", SCHEDULE, 5)


def test_only_ddim_and_tcd_take_eta() -> None:
    assert sampler_table("ddim", SCHEDULE, 5, 0.5).noisy_steps
    assert sampler_table("tcd", SCHEDULE, 5, 0.5).noisy_steps
    with pytest.raises(InvalidInputError, match=r"euler, got 0\.5; only ddim and tcd have an eta"):
        sampler_table("euler", SCHEDULE, 5, 0.5)
