"""A checkpoint's scheduler becomes the schedule and the default sampler of its bundle."""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from tests.checkpoints import edit_json
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.schedule import load_schedule
from trt_export.checkpoint.schedulers import SCHEDULERS
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, ScheduleSpec
from trt_pipeline.errors import CheckpointError
from trt_pipeline.sampling.samplers import SAMPLERS, sampler_table

# diffusers turns tensors into arrays in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("DDIMScheduler", {"clip_sample": False}, "ddim"),
    ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}, "ddim"),
    ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}, "pndm"),
    ("LMSDiscreteScheduler", {}, "lms"),
    ("LMSDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, "lms"),
    ("EulerDiscreteScheduler", {}, "euler"),
    ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}, "euler"),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler_ancestral"),
    ("DPMSolverMultistepScheduler", {}, "dpmsolver++"),
    ("DPMSolverMultistepScheduler", {"euler_at_final": True}, "dpmsolver++"),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, "dpmsolver++_karras"),
    ("UniPCMultistepScheduler", {"timestep_spacing": "leading"}, "unipc"),
]


@pytest.fixture
def checkpoint(plain_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that the test may give another scheduler; weights are links."""
    return Path(
        shutil.copytree(plain_checkpoint, tmp_path / "copy", copy_function=lambda a, b: _link(a, b))
    )


def _link(source: str, target: str) -> None:
    if source.endswith(".json"):
        shutil.copyfile(source, target)
    else:
        Path(target).symlink_to(source)


def give(checkpoint: Path, scheduler: Any) -> None:
    """Save a scheduler of diffusers in a checkpoint."""
    scheduler.save_pretrained(checkpoint / "scheduler")
    edit_json(checkpoint / "model_index.json", scheduler=["diffusers", type(scheduler).__name__])


def schedule_of(checkpoint: Path) -> tuple[ScheduleSpec, str]:
    return load_schedule(open_checkpoint(str(checkpoint)))


@pytest.mark.parametrize(("name", "settings", "sampler"), CASES)
def test_a_scheduler_s_default_sampler_visits_its_timesteps(
    checkpoint: Path, name: str, settings: dict[str, Any], sampler: str
) -> None:
    scheduler = getattr(diffusers, name)(**BETAS, **settings)
    give(checkpoint, scheduler)
    schedule, default = schedule_of(checkpoint)
    assert default == sampler
    assert schedule.prediction == PREDICTION_TYPES[scheduler.config.prediction_type]
    assert schedule.alphas_cumprod == tuple(scheduler.alphas_cumprod.tolist())
    for steps in (7, 20, 50):
        scheduler.set_timesteps(steps)
        table = sampler_table(default, schedule, steps)
        assert table.timesteps.tolist() == scheduler.timesteps.tolist()


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_a_scheduler_s_own_defaults_are_read_where_its_config_is_silent(
    checkpoint: Path, name: str
) -> None:
    needed = {"DDIMScheduler": {"clip_sample": False}, "PNDMScheduler": {"skip_prk_steps": True}}
    give(checkpoint, getattr(diffusers, name)())
    silent = {"_class_name": name, **needed.get(name, {})}
    (checkpoint / "scheduler" / "scheduler_config.json").write_text(json.dumps(silent))
    schedule, _ = schedule_of(checkpoint)
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    assert schedule.timestep_spacing == known["timestep_spacing"].default
    assert schedule.alphas_cumprod[0] == pytest.approx(1 - 1e-4)
    assert schedule.set_alpha_to_one == (name != "PNDMScheduler")


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("DDIMScheduler", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
        ("PNDMScheduler", {"skip_prk_steps": False}, "skip_prk_steps is False, .* True only"),
        ("PNDMScheduler", {"prediction_type": "sample"}, "'epsilon' or 'v_prediction' only"),
        ("LMSDiscreteScheduler", {"use_karras_sigmas": True}, "with False only"),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, "use_karras_sigmas is True"),
        ("EulerDiscreteScheduler", {"use_beta_sigmas": True}, "use_beta_sigmas is True"),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, "is 'continuous'"),
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}, "is 'log_linear'"),
        ("EulerDiscreteScheduler", {"final_sigmas_type": "sigma_min"}, "is 'sigma_min'"),
        ("EulerAncestralDiscreteScheduler", {"prediction_type": "sample"}, "is 'sample'"),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "solver_order is 3, .* with 2 only"),
        ("DPMSolverMultistepScheduler", {"solver_order": 2.0}, "solver_order is 2.0"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver"}, "is 'dpmsolver'"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "is 'sde-"),
        ("DPMSolverMultistepScheduler", {"solver_type": "heun"}, "solver_type is 'heun'"),
        ("DPMSolverMultistepScheduler", {"thresholding": True}, "thresholding is True"),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}, "use_lu_lambdas is True"),
        ("DPMSolverMultistepScheduler", {"lambda_min_clipped": -5.1}, "with -inf only"),
        ("DPMSolverMultistepScheduler", {"variance_type": "learned"}, "with None only"),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": 1}, "with False or True only"),
        ("UniPCMultistepScheduler", {"use_karras_sigmas": True}, "use_karras_sigmas is True"),
        ("UniPCMultistepScheduler", {"solver_type": "bh1"}, "solver_type is 'bh1'"),
        ("UniPCMultistepScheduler", {"disable_corrector": [0]}, r"is \[0\], .* with \[\] only"),
        ("UniPCMultistepScheduler", {"lower_order_final": False}, "lower_order_final is False"),
    ],
)
def test_a_setting_that_the_sampler_would_not_honour_is_named(
    checkpoint: Path, name: str, setting: dict[str, Any], message: str
) -> None:
    edit_json(checkpoint / "model_index.json", scheduler=["diffusers", name])
    path = checkpoint / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"clip_sample": False, "skip_prk_steps": True, **setting}))
    with pytest.raises(CheckpointError, match=message):
        schedule_of(checkpoint)


def test_settings_of_another_scheduler_are_ignored(checkpoint: Path) -> None:
    pndm = diffusers.PNDMScheduler(**BETAS, skip_prk_steps=False)
    give(checkpoint, diffusers.EulerDiscreteScheduler.from_config(pndm.config))
    assert schedule_of(checkpoint)[1] == "euler"


def test_ddpm_is_refused_with_what_to_do_instead(checkpoint: Path) -> None:
    give(checkpoint, diffusers.DDPMScheduler())
    with pytest.raises(
        CheckpointError, match=r"DDPMScheduler is not known; .* DDIMScheduler with eta 1"
    ):
        schedule_of(checkpoint)


def test_ddpm_s_steps_are_those_of_ddim_with_eta_1() -> None:
    """3e-7: both round to float32."""
    import torch

    ddpm = diffusers.DDPMScheduler(**BETAS, clip_sample=False)
    ddpm.set_timesteps(20)
    alphas = tuple(ddpm.alphas_cumprod.tolist())
    table = sampler_table(
        "ddim", ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", alphas), 20, 1.0
    )
    assert table.timesteps.tolist() == ddpm.timesteps.tolist()
    x, output = torch.ones(1, 1), torch.full((1, 1), 0.5)
    z = torch.randn(1, 1, generator=torch.Generator().manual_seed(0))
    for row, t in zip(table.coefficients, ddpm.timesteps, strict=True):
        p, q, a, b0, *_, s = row
        theirs = ddpm.step(output, t, x, generator=torch.Generator().manual_seed(0)).prev_sample
        ours = a * 1 + b0 * (p * 1 + q * 0.5) + s * float(z)
        np.testing.assert_allclose(ours, float(theirs), atol=3e-7)


def test_a_scheduler_without_scipy_says_so(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.utils import dummy_torch_and_scipy_objects as dummies
    from diffusers.utils.import_utils import BACKENDS_MAPPING

    monkeypatch.setitem(BACKENDS_MAPPING, "scipy", (lambda: False, "{0} needs scipy"))
    monkeypatch.setattr(diffusers, "LMSDiscreteScheduler", dummies.LMSDiscreteScheduler)
    edit_json(checkpoint / "model_index.json", scheduler=["diffusers", "LMSDiscreteScheduler"])
    with pytest.raises(CheckpointError, match="needs SciPy: pip install scipy"):
        schedule_of(checkpoint)


def test_a_scheduler_follows_a_sampler_of_the_runtime() -> None:
    functions = {one.sampler for one in SCHEDULERS.values()}
    functions |= {one.karras for one in SCHEDULERS.values() if one.karras}
    assert functions == set(SAMPLERS.values())
