"""A bundle's defaults: what such models are drawn with, or what a user chose."""

from pathlib import Path
from typing import Any

import pytest
from diffusers import EulerDiscreteScheduler, LCMScheduler, TCDScheduler

from tests.stable_diffusion import ONE_LEVEL, SCHEDULE, make_stable_diffusion, make_turbo
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.cli import command
from trt_export.networks.defaults import choose_defaults
from trt_export.networks.description import describe
from trt_pipeline.bundle.manifest import Defaults
from trt_pipeline.command_line import console
from trt_pipeline.errors import InvalidInputError

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def turbo(tmp_path: Path) -> Path:
    return make_turbo(tmp_path / "turbo")


def chosen(folder: Path, steps: int | None, guidance_scale: float | None) -> Defaults:
    checkpoint = open_checkpoint(str(folder))
    found = describe(checkpoint)
    return choose_defaults(checkpoint, found.defaults, found.schedule, steps, guidance_scale)


@pytest.mark.parametrize(
    ("scheduler", "steps", "guidance_scale"),
    [
        (LCMScheduler(**SCHEDULE), 4, 1.0),
        (TCDScheduler(**SCHEDULE), 4, 1.0),
        (EulerDiscreteScheduler(timestep_spacing="trailing", **SCHEDULE), 1, 1.0),
        (EulerDiscreteScheduler(timestep_spacing="leading", **SCHEDULE), 50, 7.5),
        (
            EulerDiscreteScheduler(
                timestep_spacing="trailing", prediction_type="v_prediction", **SCHEDULE
            ),
            50,
            7.5,
        ),
    ],
)
def test_a_scheduler_for_few_steps_tells_the_defaults(
    scheduler: Any, steps: int, guidance_scale: float, tmp_path: Path
) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint", scheduler=scheduler, **ONE_LEVEL)
    found = describe(open_checkpoint(str(folder)))
    assert found.defaults.num_inference_steps == steps
    assert found.defaults.guidance_scale == guidance_scale
    assert len(found.notes) == (steps < 50)


def test_a_note_says_how_the_defaults_came_about(turbo: Path) -> None:
    (note,) = describe(open_checkpoint(str(turbo))).notes
    assert note.endswith(
        "EulerDiscreteScheduler and timestep_spacing trailing and prediction_type epsilon are for "
        "models of few steps. The bundle's defaults are 1 as num_inference_steps and 1 as "
        "guidance_scale. Choose others with --num-inference-steps and --guidance-scale."
    )


def test_a_user_s_choice_counts_more(turbo: Path) -> None:
    found = chosen(turbo, 8, 2.5)
    assert (found.num_inference_steps, found.guidance_scale) == (8, 2.5)
    assert (found.sampler, found.height) == ("euler", 64)


def test_steps_that_the_sampler_does_not_take_are_refused(turbo: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"--num-inference-steps: .*1001"):
        chosen(turbo, 1001, None)


def test_a_guidance_scale_that_is_no_number_is_refused(turbo: Path) -> None:
    with pytest.raises(InvalidInputError, match="--guidance-scale: guidance_scale is nan"):
        chosen(turbo, None, float("nan"))


def test_a_guidance_scale_for_a_model_without_prompts_is_refused(
    unconditional_checkpoint: Path,
) -> None:
    with pytest.raises(InvalidInputError, match="makes pictures without prompts, which alone are"):
        chosen(unconditional_checkpoint, None, 2.0)


def test_a_plan_refuses_what_an_export_would(
    turbo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(turbo), "--out", str(tmp_path / "out"), "--dry-run"]
    assert console.run(command, [*arguments, "--num-inference-steps", "999"]) == 0
    assert console.run(command, [*arguments, "--guidance-scale", "nan"]) == 2
    assert "--guidance-scale" in capsys.readouterr().err
