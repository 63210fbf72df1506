"""A checkpoint's scheduler becomes the schedule and the default sampler of its bundle."""

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from tests.checkpoints import edit_json
from tests.trajectories import ours, started, theirs, worst
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.schedules.schedule import load_schedule
from trt_export.checkpoint.schedules.schedulers import (
    BESIDE_KARRAS,
    OF_THE_SCHEDULE,
    SCHEDULERS,
    WITHOUT_EFFECT,
    choose_sampler,
)
from trt_export.networks.description import describe
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
    ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, "euler_karras"),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler_ancestral"),
    ("DPMSolverMultistepScheduler", {}, "dpmsolver++"),
    ("DPMSolverMultistepScheduler", {"euler_at_final": True}, "dpmsolver++"),
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, "dpmsolver++_karras"),
    ("UniPCMultistepScheduler", {"timestep_spacing": "leading"}, "unipc"),
    ("DDPMScheduler", {"clip_sample": False}, "ddpm"),
    ("DDPMScheduler", {"clip_sample": False, "variance_type": "fixed_small_log"}, "ddpm"),
    ("DDPMScheduler", {"clip_sample": False, "variance_type": "fixed_large"}, "ddpm_fixed_large"),
    ("LCMScheduler", {"steps_offset": 1}, "lcm"),
    ("LCMScheduler", {"timestep_spacing": "trailing", "set_alpha_to_one": False}, "lcm"),
    ("TCDScheduler", {"clip_sample": True}, "tcd"),
]
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}


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
        assert table.timesteps == pytest.approx(scheduler.timesteps.numpy(), abs=1e-4)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_a_scheduler_s_own_defaults_are_read_where_its_config_is_silent(
    checkpoint: Path, name: str
) -> None:
    unclipped = {"clip_sample": False}
    needed = {
        "DDIMScheduler": unclipped,
        "DDPMScheduler": unclipped,
        "PNDMScheduler": {"skip_prk_steps": True},
    }
    give(checkpoint, getattr(diffusers, name)())
    silent = {"_class_name": name, **needed.get(name, {})}
    (checkpoint / "scheduler" / "scheduler_config.json").write_text(json.dumps(silent))
    schedule, _ = schedule_of(checkpoint)
    known = inspect.signature(getattr(diffusers, name).__init__).parameters
    assert schedule.timestep_spacing == known["timestep_spacing"].default
    assert schedule.alphas_cumprod[0] == pytest.approx(1 - known["beta_start"].default)
    assert schedule.set_alpha_to_one == (name != "PNDMScheduler")


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_levels_rescaled_to_no_signal_give_the_trajectory_of_diffusers(
    checkpoint: Path, spacing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5e-4: the last level is 2^-24 instead of 0, as diffusers has it in other schedulers."""
    settings = {**BETAS, **ZERO_SNR, "clip_sample": False, "timestep_spacing": spacing}
    give(checkpoint, diffusers.DDIMScheduler(**settings))
    assert off(checkpoint, monkeypatch) <= 5e-4


@pytest.mark.parametrize(
    "name",
    [
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_rescaled_levels_of_samplers_in_sigma_give_the_trajectory_of_diffusers(
    checkpoint: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e-4: steps from σ = 4096 subtract large numbers in float32, diffusers' as ours."""
    scheduler = getattr(diffusers, name)(**BETAS, **ZERO_SNR, timestep_spacing="trailing")
    give(checkpoint, scheduler)
    assert scheduler.alphas_cumprod[-1] == 2**-24
    assert off(checkpoint, monkeypatch) <= 1e-4


def off(checkpoint: Path, patch: pytest.MonkeyPatch) -> float:
    """How far a trajectory of 20 steps is from that of diffusers' scheduler in the same folder."""
    schedule, sampler = schedule_of(checkpoint)
    kind = json.loads((checkpoint / "model_index.json").read_text())["scheduler"][1]
    scheduler = getattr(diffusers, kind).from_pretrained(checkpoint / "scheduler")
    scheduler.set_timesteps(20)
    run = started(sampler_table(sampler, schedule, 20), scheduler)
    return worst(ours(run, np.float32), theirs(run, np.float32, patch))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("DDIMScheduler", {"rescale_betas_zero_snr": True}, "alphas_cumprod ends at 0 .*v_pred"),
        ("DDIMScheduler", {"beta_schedule": "scaled_linear", "beta_end": 1.0}, "ends at 0, where"),
        ("EulerDiscreteScheduler", {"rescale_betas_zero_snr": True}, "rises .* 4.2e-09 to 6e-08"),
    ],
)
def test_levels_without_a_table_are_named(
    checkpoint: Path, name: str, settings: dict[str, Any], message: str
) -> None:
    rewrite(checkpoint, name, {"clip_sample": False, **settings})
    with pytest.raises(CheckpointError, match=message):
        schedule_of(checkpoint)


IN_0_TO_1 = "a number above 0 and at most 1"
WHOLE = "a whole number from 1 to 10000"
NUMBERS: list[tuple[dict[str, Any], str]] = [
    ({"beta_start": float("nan")}, f"beta_start is nan, expected {IN_0_TO_1}"),
    ({"beta_start": "0.1"}, f"beta_start is '0.1', expected {IN_0_TO_1}"),
    ({"beta_start": 0}, f"beta_start is 0, expected {IN_0_TO_1}"),
    ({"beta_start": True}, f"beta_start is True, expected {IN_0_TO_1}"),
    ({"beta_end": float("inf")}, f"beta_end is inf, expected {IN_0_TO_1}"),
    ({"beta_end": 10**400}, f"beta_end is 10{{78,}}, expected {IN_0_TO_1}"),
    ({"beta_end": 1.2, **ZERO_SNR}, f"beta_end is 1.2, expected {IN_0_TO_1}"),
    ({"beta_end": None}, f"beta_end is None, expected {IN_0_TO_1}"),
    ({"num_train_timesteps": float("nan")}, f"num_train_timesteps is nan, expected {WHOLE}"),
    ({"num_train_timesteps": 1000.0}, f"num_train_timesteps is 1000.0, expected {WHOLE}"),
    ({"num_train_timesteps": "1000"}, f"num_train_timesteps is '1000', expected {WHOLE}"),
    ({"num_train_timesteps": -1}, f"num_train_timesteps is -1, expected {WHOLE}"),
    ({"steps_offset": float("nan")}, "steps_offset is nan, expected a whole number from 0 to 999"),
    ({"steps_offset": -1}, "steps_offset is -1, expected a whole number from 0 to 999"),
    ({"trained_betas": [0.01] * 999}, "trained_betas has 999 .* num_train_timesteps is 1000"),
    ({"trained_betas": [0.1], "num_train_timesteps": 2}, "has 1 values, .*timesteps is 2"),
    ({"trained_betas": []}, "trained_betas has 0 values, but num_train_timesteps is 1000"),
    ({"trained_betas": [[0.01] * 1000]}, "trained_betas has 1 values"),
    ({"trained_betas": [[0.01]], "num_train_timesteps": 1}, r"trained_betas\[0\] is \[0.01\]"),
    ({"trained_betas": [0.01] * 999 + [10**400]}, r"trained_betas\[999\] is 10+, expected a n"),
    ({"trained_betas": [0.01] * 999 + ["1"]}, r"trained_betas\[999\] is '1', expected a number"),
    ({"trained_betas": 0.01}, "trained_betas is 0.01, expected null or a list of numbers"),
]


@pytest.mark.parametrize(("settings", "message"), NUMBERS)
def test_a_number_that_no_schedule_has_is_named_before_diffusers_reads_it(
    checkpoint: Path, settings: dict[str, Any], message: str
) -> None:
    rewrite(checkpoint, "DDIMScheduler", settings)
    with pytest.raises(CheckpointError, match=message):
        schedule_of(checkpoint)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_scheduler_takes_one_beta_for_each_timestep(checkpoint: Path, name: str) -> None:
    rewrite(checkpoint, name, {"trained_betas": [0.1] * 30, "num_train_timesteps": 30})
    assert schedule_of(checkpoint)[0].alphas_cumprod[1] == pytest.approx(0.81)
    rewrite(checkpoint, name, {"trained_betas": [0.1] * 30})
    with pytest.raises(CheckpointError, match="has 30 values, but num_train_timesteps is 1000"):
        schedule_of(checkpoint)


def rewrite(checkpoint: Path, name: str, settings: dict[str, Any]) -> Path:
    """Give a checkpoint a scheduler with settings that its class may refuse."""
    edit_json(checkpoint / "model_index.json", scheduler=["diffusers", name])
    path = checkpoint / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"clip_sample": False, "skip_prk_steps": True, **settings}))
    return path


def multistep(name: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    return f"{name}MultistepScheduler", settings


def discrete(name: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    return f"{name}DiscreteScheduler", settings


OF_THE_MODEL = [
    (("PNDMScheduler", {"prediction_type": "sample"}), '"epsilon" or "v_prediction" only'),
    (("DDPMScheduler", {"variance_type": "fixed_large_log"}), 'or "fixed_large" only'),
    (("DDPMScheduler", {"rescale_betas_zero_snr": True}), "rescale_betas_zero_snr is true"),
    (("DDPMScheduler", {"variance_type": "learned"}), 'variance_type is "learned"'),
    (("DDPMScheduler", {"variance_type": "learned_range"}), 'variance_type is "learned_range"'),
    (("LCMScheduler", {"original_inference_steps": 100}), "100, but .* with 50 only"),
    (("LCMScheduler", {"timestep_scaling": 1.0}), r"1\.0, but .* with 10\.0 only"),
    (("TCDScheduler", {"original_inference_steps": 25}), "25, but .* with 50 only"),
    (discrete("Euler", timestep_type="continuous"), 'is "continuous"'),
    (discrete("EulerAncestral", prediction_type="sample"), 'is "sample"'),
    (multistep("DPMSolver", variance_type="learned"), "with null only"),
    (multistep("DPMSolver", use_flow_sigmas=True), "use_flow_sigmas is true"),
    (multistep("UniPC", use_dynamic_shifting=True), "use_dynamic_shifting is true"),
]
OF_THE_SAMPLER = [
    (("DDIMScheduler", {"clip_sample": True}), "clip_sample is true, .* with false only"),
    (("DDIMScheduler", {"thresholding": True}), "thresholding is true, .* with false only"),
    (("DDPMScheduler", {"clip_sample": True}), "clip_sample is true"),
    (("DDPMScheduler", {"clip_sample": True, "thresholding": True}), "true.*; thresholding is"),
    (("PNDMScheduler", {"skip_prk_steps": False}), "skip_prk_steps is false, .* true only"),
    (discrete("LMS", use_karras_sigmas=True), "with false only"),
    (("LCMScheduler", {"clip_sample": True}), "clip_sample is true"),
    (("LCMScheduler", {"thresholding": True}), "thresholding is true"),
    (discrete("Euler", use_exponential_sigmas=True), "use_exponential_sigmas is true"),
    (discrete("Euler", use_beta_sigmas=True), "use_beta_sigmas is true"),
    (discrete("Euler", interpolation_type="log_linear"), 'is "log_linear"'),
    (discrete("Euler", final_sigmas_type="sigma_min"), 'is "sigma_min"'),
    (multistep("DPMSolver", solver_order=3), "solver_order is 3, .* with 2 only"),
    (multistep("DPMSolver", solver_order=2.0), "solver_order is 2.0"),
    (multistep("DPMSolver", algorithm_type="dpmsolver"), 'is "dpmsolver"'),
    (multistep("DPMSolver", algorithm_type="sde-dpmsolver++"), 'is "sde-dpm'),
    (multistep("DPMSolver", solver_type="heun"), 'solver_type is "heun"'),
    (multistep("DPMSolver", thresholding=True), "thresholding is true"),
    (multistep("DPMSolver", use_lu_lambdas=True), "use_lu_lambdas is true"),
    (multistep("DPMSolver", lambda_min_clipped=-5.1), "with -Infinity only"),
    (multistep("UniPC", use_karras_sigmas=True), "use_karras_sigmas is true"),
    (multistep("UniPC", solver_type="bh1"), 'solver_type is "bh1"'),
    (multistep("UniPC", disable_corrector=[0]), r"is \[0\], .* with \[\] only"),
    (multistep("UniPC", lower_order_final=False), "lower_order_final is false"),
    (multistep("UniPC", predict_x0=False), "predict_x0 is false"),
]


@pytest.mark.parametrize(("scheduler", "message"), OF_THE_MODEL)
def test_a_setting_that_the_model_was_trained_for_is_refused_without_advice(
    checkpoint: Path, scheduler: tuple[str, dict[str, Any]], message: str
) -> None:
    rewrite(checkpoint, *scheduler)
    with pytest.raises(CheckpointError, match=message) as caught:
        schedule_of(checkpoint)
    assert "Set " not in str(caught.value)


@pytest.mark.parametrize(("scheduler", "message"), OF_THE_SAMPLER)
def test_the_advice_of_a_refusal_gives_the_trajectory_of_diffusers(
    checkpoint: Path,
    scheduler: tuple[str, dict[str, Any]],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = rewrite(checkpoint, *scheduler)
    with pytest.raises(CheckpointError, match=message) as caught:
        schedule_of(checkpoint)
    assert str(path) in str(caught.value)
    advice = re.search(r"Set (.*) in that file: the bundle then draws", str(caught.value))
    assert advice
    for change in advice[1].split(" and "):
        setting, _, value = change.partition(" to ")
        edit_json(path, **{setting: json.loads(value)})
    assert off(checkpoint, monkeypatch) <= 1e-5


SAME_FLAGS = [
    (("DDIMScheduler", {"clip_sample": None}), "clip_sample is null", "clip_sample to false"),
    (("DDPMScheduler", {"clip_sample": 0}), "clip_sample is 0,", "clip_sample to false"),
    (("PNDMScheduler", {"skip_prk_steps": 1}), "skip_prk_steps is 1", "skip_prk_steps to true"),
    (
        multistep("DPMSolver", use_karras_sigmas=1),
        "false or true only",
        "use_karras_sigmas to true",
    ),
]


@pytest.mark.parametrize(("scheduler", "message", "change"), SAME_FLAGS)
def test_a_flag_that_diffusers_takes_for_another_is_not_said_to_draw_other_pictures(
    checkpoint: Path,
    scheduler: tuple[str, dict[str, Any]],
    message: str,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = rewrite(checkpoint, *scheduler)
    advice = f"Set {change} in that file: .* what diffusers draws with the file as it is"
    with pytest.raises(CheckpointError, match=f"{message}.*{advice}"):
        schedule_of(checkpoint)
    before = trajectory_start(checkpoint)
    setting, _, value = change.partition(" to ")
    edit_json(path, **{setting: json.loads(value)})
    assert trajectory_start(checkpoint) == before
    assert off(checkpoint, monkeypatch) <= 1e-5


def trajectory_start(checkpoint: Path) -> list[float]:
    """What diffusers' scheduler in the folder makes of large latents in its first step."""
    kind = json.loads((checkpoint / "model_index.json").read_text())["scheduler"][1]
    scheduler = getattr(diffusers, kind).from_pretrained(checkpoint / "scheduler")
    scheduler.set_timesteps(20)
    latents = torch.linspace(-9, 9, 16).reshape(1, 1, 4, 4)
    torch.manual_seed(0)
    drawn = scheduler.step(latents / 2, scheduler.timesteps[0], latents).prev_sample
    return list(drawn.flatten().tolist())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma_min": 0.1}, "sigma_min is 0.1, .* only null can be exported"),
        ({"sigma_max": 5}, "sigma_max is 5, .* only null can be exported"),
        ({"beta_schedule": "squaredcos_cap_v2"}, 'is "squaredcos_cap_v2", .* another beta_sch'),
    ],
)
def test_what_changes_karras_levels_in_diffusers_is_refused_with_them_alone(
    checkpoint: Path, settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewrite(checkpoint, *multistep("DPMSolver", use_karras_sigmas=True, **settings))
    with pytest.raises(CheckpointError, match=message):
        schedule_of(checkpoint)
    edit_json(path, use_karras_sigmas=False)
    assert off(checkpoint, monkeypatch) <= 1e-5


def test_null_ends_of_karras_levels_change_nothing(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {"use_karras_sigmas": True, "sigma_min": None, "sigma_max": None}
    rewrite(checkpoint, *multistep("DPMSolver", **ends))
    assert off(checkpoint, monkeypatch) <= 1e-5


@pytest.mark.parametrize(
    ("name", "settings", "steps"),
    [
        ("DDIMScheduler", {"num_train_timesteps": 20}, 20),
        ("DDIMScheduler", {"steps_offset": 50}, 48),
        ("DDIMScheduler", {"steps_offset": 999}, 1),
        ("UniPCMultistepScheduler", {"num_train_timesteps": 20}, 19),
        ("DDIMScheduler", {"num_train_timesteps": 50}, 50),
    ],
)
def test_the_default_steps_are_the_most_that_the_schedule_takes(
    checkpoint: Path, name: str, settings: dict[str, Any], steps: int
) -> None:
    path = rewrite(checkpoint, name, settings)
    found = describe(open_checkpoint(str(checkpoint)))
    assert found.defaults.num_inference_steps == steps
    table = sampler_table(found.defaults.sampler, found.schedule, steps, found.defaults.eta)
    assert len(table.timesteps) == steps
    note = f"{path}: its num_train_timesteps and steps_offset leave no room for 50 steps, "
    note += f"the default of ldm_text_to_image. The bundle's default is {steps}."
    assert found.notes == (() if steps == 50 else (note,))


def test_a_schedule_that_takes_no_steps_at_all_is_refused(checkpoint: Path) -> None:
    rewrite(checkpoint, "UniPCMultistepScheduler", {"num_train_timesteps": 1})
    with pytest.raises(CheckpointError, match="no number of steps draws with it"):
        describe(open_checkpoint(str(checkpoint)))


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_a_scheduler_reads_no_key_beside_its_settings_but_the_known_ones(name: str) -> None:
    """diffusers keeps keys that it does not know, where `self.config` still finds them."""
    kind = getattr(diffusers, name)
    read = set(re.findall(r"self\.config(?:\.|, \"|\[\")(\w+)", inspect.getsource(kind)))
    assert "num_train_timesteps" in read
    words_of_an_error = {"train_timesteps"}
    beside = read - inspect.signature(kind.__init__).parameters.keys()
    assert beside <= {*BESIDE_KARRAS, *words_of_an_error}


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_setting_of_a_scheduler_is_known(name: str) -> None:
    """A new release of diffusers may add settings: see whether they change what is drawn."""
    known = inspect.signature(getattr(diffusers, name).__init__).parameters.keys() - {"self"}
    found = SCHEDULERS[name]
    assert known <= OF_THE_SCHEDULE | WITHOUT_EFFECT | found.unread | found.honoured.keys()


@pytest.mark.parametrize("setting", sorted(SCHEDULERS["TCDScheduler"].unread))
def test_a_setting_that_counts_as_unread_changes_no_trajectory(
    checkpoint: Path, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"clip_sample": True, "thresholding": True, "timestep_scaling": 0.1}
    rewrite(checkpoint, "TCDScheduler", {"clip_sample": False, setting: changed[setting]})
    assert off(checkpoint, monkeypatch) <= 1e-5


def test_an_unknown_setting_of_a_newer_release_may_have_its_default_only(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Newer(diffusers.DDIMScheduler):  # type: ignore[misc]
        def __init__(self, clip_sample: bool = True, churn: float = 0.0) -> None: ...

    monkeypatch.setattr(diffusers, "DDIMScheduler", Newer)
    assert choose_sampler("DDIMScheduler", {"clip_sample": False, "churn": 0.0}) == "ddim"
    with pytest.raises(ValueError, match=r"churn is 0\.5, but a DDIMScheduler .* with 0\.0 only"):
        choose_sampler("DDIMScheduler", {"clip_sample": False, "churn": 0.5})


def test_fixed_large_log_is_refused_as_diffusers_itself_draws_nothing_with_it() -> None:
    ddpm = diffusers.DDPMScheduler(variance_type="fixed_large_log", clip_sample=False)
    ddpm.set_timesteps(5)
    x = torch.ones(1, 1)
    assert ddpm.step(x, ddpm.timesteps[0], x).prev_sample.isnan().all()


def test_settings_of_another_scheduler_are_ignored(checkpoint: Path) -> None:
    pndm = diffusers.PNDMScheduler(**BETAS, skip_prk_steps=False)
    give(checkpoint, diffusers.EulerDiscreteScheduler.from_config(pndm.config))
    assert schedule_of(checkpoint)[1] == "euler"


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
    functions |= {made for one in SCHEDULERS.values() for made in one.variants.values()}
    assert functions == set(SAMPLERS.values())
