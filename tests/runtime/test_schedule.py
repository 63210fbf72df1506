from dataclasses import replace

import numpy as np
import pytest

from trt_pipeline import InvalidInputError
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec, TimestepSpacing
from trt_pipeline.sampling.schedule import (
    alphas_at,
    choose_schedule,
    distilled_timesteps,
    fractional_timesteps,
    inference_timesteps,
    karras_sigmas,
    sigmas_at,
    timesteps_above_end,
    timesteps_of,
    trained_schedule,
    training_sigmas,
)
from trt_pipeline.settings import SETTINGS

from .tiny_bundle import ALPHAS_CUMPROD

LEADING = ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", ALPHAS_CUMPROD)


def test_leading_steps_end_at_zero() -> None:
    assert inference_timesteps(LEADING, 4).tolist() == [750, 500, 250, 0]


def test_steps_that_do_not_divide_the_schedule_keep_a_whole_stride() -> None:
    timesteps = inference_timesteps(LEADING, 300)
    assert timesteps[[0, 1, -1]].tolist() == [897, 894, 0]


def test_the_offset_shifts_leading_steps() -> None:
    assert inference_timesteps(replace(LEADING, steps_offset=1), 4).tolist() == [751, 501, 251, 1]


def test_trailing_steps_begin_at_the_end() -> None:
    trailing = replace(LEADING, timestep_spacing="trailing")
    assert inference_timesteps(trailing, 4).tolist() == [999, 749, 499, 249]


def test_linspace_covers_both_ends() -> None:
    linspace = replace(LEADING, timestep_spacing="linspace")
    assert inference_timesteps(linspace, 4).tolist() == [999, 666, 333, 0]


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_every_step_count_gives_that_many_timesteps(spacing: TimestepSpacing) -> None:
    schedule = replace(LEADING, timestep_spacing=spacing)
    for steps in range(1, 1001):
        timesteps = inference_timesteps(schedule, steps)
        assert len(timesteps) == steps
        assert timesteps.min() >= 0


def test_before_the_schedule_alpha_is_one_or_the_first() -> None:
    timesteps = np.array([-5, 0])
    first = ALPHAS_CUMPROD[0]
    assert alphas_at(LEADING, timesteps).tolist() == [1, first]
    assert alphas_at(replace(LEADING, set_alpha_to_one=False), timesteps).tolist() == [first, first]


@pytest.mark.parametrize("steps", [0, -1, 1001, True, 2.0, "5", None])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(InvalidInputError, match=r"num_inference_steps must be .* 1 to 1000, got"):
        inference_timesteps(LEADING, steps)


def test_an_offset_beyond_the_schedule_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"begin at timestep 1000 .* ends at 999"):
        inference_timesteps(replace(LEADING, steps_offset=1), 1000)


def test_linspace_may_fall_between_timesteps() -> None:
    linspace = replace(LEADING, timestep_spacing="linspace")
    assert fractional_timesteps(linspace, 5).tolist() == [999, 749.25, 499.5, 249.75, 0]
    assert fractional_timesteps(LEADING, 4).tolist() == [750, 500, 250, 0]


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ("leading", [750, 500, 250]),
        ("linspace", [999, 666, 333]),
        ("trailing", [999, 666, 332]),
    ],
)
def test_timesteps_above_the_end_stop_short_of_zero(
    spacing: TimestepSpacing, expected: list[int]
) -> None:
    schedule = replace(LEADING, timestep_spacing=spacing)
    assert timesteps_above_end(schedule, 3).tolist() == expected


def test_sigmas_fall_to_zero() -> None:
    first, last = (
        np.sqrt((1 - alpha) / alpha) for alpha in (ALPHAS_CUMPROD[0], ALPHAS_CUMPROD[-1])
    )
    assert sigmas_at(LEADING, np.array([999, 0])) == pytest.approx([last, first, 0])
    assert karras_sigmas(training_sigmas(LEADING), 2) == pytest.approx([last, first, 0])


def test_sigmas_are_interpolated_between_timesteps() -> None:
    between, left, right, _ = sigmas_at(LEADING, np.array([10.5, 10, 11]))
    assert between == pytest.approx((left + right) / 2)


def test_the_timestep_of_a_training_sigma_is_its_own() -> None:
    timesteps = np.array([999, 500, 1, 0])
    found = timesteps_of(LEADING, sigmas_at(LEADING, timesteps)[:-1])
    assert found == pytest.approx(timesteps, abs=1e-9)


def test_the_timestep_of_a_sigma_between_two_is_found_by_its_logarithm() -> None:
    sigmas = training_sigmas(LEADING)[[10, 11]]
    assert timesteps_of(LEADING, np.sqrt(sigmas[:1] * sigmas[1:])) == pytest.approx([10.5])


def test_the_trained_schedule_spaces_the_roots_of_beta_evenly() -> None:
    trained = trained_schedule(LEADING)
    roots = np.sqrt(1 - np.divide(trained.alphas_cumprod[1:], trained.alphas_cumprod[:-1]))
    np.testing.assert_allclose(np.diff(roots), np.diff(roots).mean(), rtol=1e-6)
    assert trained.alphas_cumprod[500] == pytest.approx(0.2763, abs=5e-5)
    assert trained.alphas_cumprod[999] == pytest.approx(0.00466, abs=5e-6)
    assert (trained.steps_offset, trained.set_alpha_to_one) == (1, False)


@pytest.mark.parametrize("name", ["published", "trained"])
def test_a_spacing_asked_for_replaces_the_schedules_own(name: str) -> None:
    chosen = choose_schedule(LEADING, name, "trailing")
    assert inference_timesteps(chosen, 4).tolist() == [999, 749, 499, 249]
    assert choose_schedule(LEADING, name) == choose_schedule(LEADING, name, "leading")


def test_float32_does_not_change_the_trained_schedule() -> None:
    rounded = tuple(np.array(ALPHAS_CUMPROD, np.float32).tolist())
    assert trained_schedule(replace(LEADING, alphas_cumprod=rounded)) == trained_schedule(LEADING)


def test_a_trained_schedule_stays_as_it_is() -> None:
    trained = trained_schedule(LEADING)
    assert trained_schedule(trained) == trained


def test_the_trained_schedule_is_scaled_linear_in_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear").alphas_cumprod
    np.testing.assert_allclose(trained_schedule(LEADING).alphas_cumprod, theirs, rtol=1e-5)


@pytest.mark.parametrize("last", [1e-12, 2**-24])
def test_a_schedule_that_ends_without_signal_was_never_trained_by_compvis(last: float) -> None:
    ending = replace(LEADING, alphas_cumprod=(*ALPHAS_CUMPROD[:-1], last))
    with pytest.raises(InvalidInputError, match=r'ends without signal.* Use schedule="published"'):
        trained_schedule(ending)


def test_a_schedule_is_chosen_by_name() -> None:
    assert choose_schedule(LEADING, "published") == LEADING
    assert choose_schedule(LEADING, "trained") == trained_schedule(LEADING)
    with pytest.raises(InvalidInputError, match="schedule must be one of published, trained, got"):
        SETTINGS["schedule"].checked("cosine")


@pytest.mark.parametrize("steps", [0, 1000, True, "5"])
def test_timesteps_above_the_end_leave_room_for_it(steps: int) -> None:
    with pytest.raises(InvalidInputError, match=r"num_inference_steps must be .* 1 to 999, got"):
        timesteps_above_end(LEADING, steps)


def test_consistency_models_take_every_n_th_of_the_timesteps_of_their_distillation() -> None:
    assert distilled_timesteps(LEADING, 4).tolist() == [999, 759, 499, 259]
    assert distilled_timesteps(LEADING, 50).tolist() == list(range(999, 0, -20))


def test_the_spacing_and_offset_of_a_schedule_do_not_move_distilled_timesteps() -> None:
    moved = replace(LEADING, timestep_spacing="trailing", steps_offset=7)
    assert distilled_timesteps(moved, 4).tolist() == [999, 759, 499, 259]


@pytest.mark.parametrize("steps", [0, 51, True, 2.0])
def test_consistency_models_take_no_more_steps_than_they_were_distilled_for(steps: int) -> None:
    with pytest.raises(InvalidInputError, match=r"num_inference_steps must be .* 1 to 50, got"):
        distilled_timesteps(LEADING, steps)


def test_a_schedule_too_short_for_consistency_models_is_refused() -> None:
    short = replace(LEADING, alphas_cumprod=ALPHAS_CUMPROD[:49])
    with pytest.raises(InvalidInputError, match="has 49 timesteps, but lcm and tcd need at least"):
        distilled_timesteps(short, 1)
    assert distilled_timesteps(replace(LEADING, alphas_cumprod=ALPHAS_CUMPROD[:50]), 1) == [49]
