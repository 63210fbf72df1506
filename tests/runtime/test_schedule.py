from dataclasses import replace

import numpy as np
import pytest

from trt_pipeline import BundleError, InvalidInputError
from trt_pipeline.bundle import ScheduleSpec
from trt_pipeline.schedule import alphas_at, inference_timesteps

from .tiny_bundle import ALPHAS_CUMPROD

LEADING = ScheduleSpec("epsilon", 0, True, "leading", ALPHAS_CUMPROD)


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
def test_every_step_count_gives_that_many_timesteps(spacing: str) -> None:
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


def test_an_unknown_spacing_is_refused() -> None:
    with pytest.raises(BundleError, match="timestep_spacing is 'cubic'"):
        inference_timesteps(replace(LEADING, timestep_spacing="cubic"), 5)
