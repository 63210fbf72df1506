"""The YAML of a CompVis checkpoint, and the same architecture as diffusers' configurations.

Names and defaults are those of the classes in github.com/CompVis/latent-diffusion. What cannot be
exported is refused by name, and so is an entry that these classes lack.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trt_export.checkpoint.single_files.yaml_files import entry_of, params_of, read_yaml
from trt_export.checkpoint.single_files.yaml_networks import (
    PREDICTIONS,
    Network,
    network_of,
    require,
)
from trt_export.families import Family, Role, SingleFile, families
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.errors import CheckpointError

WHERE = "model.params"

TRAINING = {
    "ckpt_path",
    "cond_stage_key",
    "cond_stage_trainable",
    "first_stage_key",
    "ignore_keys",
    "image_size",
    "l_simple_weight",
    "learn_logvar",
    "load_only_unet",
    "log_every_t",
    "logvar_init",
    "loss_type",
    "monitor",
    "num_timesteps_cond",
    "original_elbo_weight",
    "scheduler_config",
    "use_positional_encodings",
}
"""Settings of LatentDiffusion that only training reads."""
UNREAD_BY_DDIM = {"channels", "clip_denoised", "concat_mode", "cosine_s", "v_posterior"}
"""Settings of LatentDiffusion for other samplers, other conditions and other schedules."""


@dataclass(frozen=True, slots=True)
class LatentDiffusion:
    """What of LatentDiffusion matters to sampling, and its networks."""

    networks: Mapping[Role, Network]
    linear_start: float = 1e-4
    linear_end: float = 2e-2
    timesteps: int = 1000
    beta_schedule: Literal["linear", "sqrt_linear"] = "linear"
    given_betas: Any = None
    parameterization: Literal["eps", "v"] = "eps"
    scale_factor: float = 1.0
    cond_stage_forward: str | None = None
    """A method that makes another context than the text encoder's usual one."""
    scale_by_std: bool = False
    """Whether the scale factor is stored among the weights instead."""
    use_ema: bool = True
    """Whether to sample with the moving average of the UNet's weights."""

    def __post_init__(self) -> None:
        """ValueError for what cannot be exported."""
        require(self, given_betas=None, scale_by_std=False, cond_stage_forward=None)

    def as_diffusers(self, role: Role) -> dict[str, Any]:
        """A part's configuration as diffusers would have it."""
        if role == "scheduler":
            return self._scheduler()
        if role not in self.networks:
            return {}
        scaling = {"scaling_factor": self.scale_factor} if role == "vae" else {}
        return {**self.networks[role].as_diffusers(), **scaling}

    def _scheduler(self) -> dict[str, Any]:
        """DDIMScheduler's configuration that samples as CompVis' own DDIMSampler does.

        DDIMSampler visits timesteps 1, 1 + s, 1 + 2s, …, s = timesteps // steps, and ends with the
        noise level of timestep 0.
        """
        return {
            "beta_start": self.linear_start,
            "beta_end": self.linear_end,
            "beta_schedule": self.evenly_spaced,
            "num_train_timesteps": self.timesteps,
            "clip_sample": False,
            "steps_offset": 1,
            "set_alpha_to_one": False,
            "prediction_type": PREDICTIONS[self.parameterization],
        }

    @property
    def evenly_spaced(self) -> str:
        """diffusers' beta_schedule. CompVis' "linear" betas are evenly spaced before squaring."""
        return {"linear": "scaled_linear", "sqrt_linear": "linear"}[self.beta_schedule]


def read_config(path: Path) -> tuple[Family, LatentDiffusion]:
    """Read a YAML, as plain data; CheckpointError says what cannot be exported."""
    content = read_yaml(path)
    try:
        return _latent_diffusion(content)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


def _latent_diffusion(content: object) -> tuple[Family, LatentDiffusion]:
    params = params_of(entry_of(content, "model", "it"), ("LatentDiffusion",), "model")
    family = _family_of(params)
    sections = family.single_file.networks if family.single_file else {}
    elsewhere = {section.name for section in sections.values()} | {"conditioning_key"}
    harmless = TRAINING | UNREAD_BY_DDIM | elsewhere
    kept = {name: value for name, value in params.items() if name not in harmless}
    networks: dict[Role, Network] = {
        role: network_of(params, section.name, section.target, WHERE)
        for role, section in sections.items()
    }
    return family, decode(LatentDiffusion, kept, WHERE, networks=networks)


def _family_of(params: Mapping[str, Any]) -> Family:
    """The family of the networks' classes; ValueError if there is none."""
    known = [(family, family.single_file) for family in families().values() if family.single_file]
    for name in {section.name: 0 for _, file in known for section in file.networks.values()}:
        sections = [s for _, file in known for s in file.networks.values() if s.name == name]
        where = f"{WHERE}.{name}"
        params_of(entry_of(params, name, WHERE), [section.target for section in sections], where)
    key = entry_of(params, "conditioning_key", WHERE)
    for family, file in known:
        if key == file.conditioning_key and _has_targets(params, file):
            return family
    keys = " or ".join(repr(file.conditioning_key) for _, file in known)
    raise ValueError(f"conditioning_key is {key!r:.80}; only {keys} can be exported")


def _has_targets(params: Mapping[str, Any], file: SingleFile) -> bool:
    return all(
        str(entry_of(params[section.name], "target", section.name)).endswith(section.target)
        for section in file.networks.values()
    )
