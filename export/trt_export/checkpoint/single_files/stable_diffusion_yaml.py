"""The YAML of a single file of Stable Diffusion, such as v2-inference-v.yaml or sd_xl_base.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trt_export.checkpoint.single_files.compvis_config import (
    TRAINING,
    UNREAD_BY_DDIM,
    WHERE,
    LatentDiffusion,
)
from trt_export.checkpoint.single_files.yaml_files import (
    entry_of,
    mapping_of,
    params_of,
    read_yaml,
)
from trt_export.checkpoint.single_files.yaml_networks import Network, network_of
from trt_export.families import Role
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.errors import CheckpointError

LATENT_DIFFUSION = ("LatentDiffusion", "LatentInpaintDiffusion")
ENGINE = "DiffusionEngine"
"""Stability's class for XL."""
TEXTS: Mapping[str, tuple[str, str]] = {
    "FrozenCLIPEmbedder": ("Stable Diffusion 1.x", "last"),
    "FrozenOpenCLIPEmbedder": ("Stable Diffusion 2.x", "penultimate"),
}
"""Class of the text encoder → the generation that has it, and the layer that pictures need."""
XL_TEXTS = ("FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder2", *["ConcatTimestepEmbedderND"] * 3)
PREDICTIONS = {"EpsScaling": "eps", "VScaling": "v"}
UNREAD = TRAINING | UNREAD_BY_DDIM | {"conditioning_key", "finetune_keys", "load_ema"}
UNREAD_BY_ENGINE = {
    "compile_model",
    "disable_first_stage_autocast",
    "ema_decay_rate",
    "en_and_decode_n_samples_a_time",
    "input_key",
    "log_keys",
    "loss_fn_config",
    "no_cond_log",
    "optimizer_config",
    "sampler_config",
    "scheduler_config",
}
"""Settings of DiffusionEngine for training and for its own sampler."""


def read_stable_diffusion(path: Path, generation: str) -> LatentDiffusion:
    """Read a YAML, as plain data; CheckpointError says what cannot be exported.

    generation: of the file's weights.
    """
    content = read_yaml(path)
    try:
        model = mapping_of(entry_of(content, "model", "it"), "model")
        if str(model.get("target")).endswith(ENGINE):
            stated, described = _engine(model), "Stable Diffusion XL"
        else:
            stated, described = _latent_diffusion(model)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None
    if described != generation:
        raise CheckpointError(f"{path} is of {described}, but the weights are {generation}'s.")
    return stated


def _latent_diffusion(model: Mapping[str, Any]) -> tuple[LatentDiffusion, str]:
    params = params_of(model, LATENT_DIFFUSION, "model")
    sections = ("unet_config", "first_stage_config", "cond_stage_config")
    kept = {name: params[name] for name in params if name not in UNREAD.union(sections)}
    networks: dict[Role, Network] = {
        "unet": network_of(params, "unet_config", "UNetModel", WHERE),
        "vae": network_of(params, "first_stage_config", "AutoencoderKL", WHERE),
    }
    text = mapping_of(entry_of(params, "cond_stage_config", WHERE), "cond_stage_config")
    stated = decode(LatentDiffusion, kept, WHERE, networks=networks)
    return stated, _generation_of(text)


def _generation_of(text: Mapping[str, Any]) -> str:
    kind = str(text.get("target")).rpartition(".")[2]
    if kind not in TEXTS:
        raise ValueError(
            f"cond_stage_config.target is {kind!r:.80}; only {' or '.join(TEXTS)} can be exported"
        )
    generation, layer = TEXTS[kind]
    params = mapping_of(text.get("params") or {}, "cond_stage_config.params")
    stated = params.get("layer", "last")
    if stated != layer:
        raise ValueError(f"cond_stage_config.params: layer is {stated!r:.80}, expected {layer!r}")
    return generation


def _engine(model: Mapping[str, Any]) -> LatentDiffusion:
    params = params_of(model, (ENGINE,), "model")
    sections = ("denoiser_config", "network_config", "first_stage_config", "conditioner_config")
    kept = {name: params[name] for name in params if name not in UNREAD_BY_ENGINE.union(sections)}
    kept.setdefault("use_ema", False)
    networks: dict[Role, Network] = {
        "unet": network_of(params, "network_config", "UNetModel", WHERE),
        "vae": network_of(params, "first_stage_config", "AutoencoderKL", WHERE),
    }
    _check_texts(entry_of(params, "conditioner_config", WHERE))
    kept |= _denoiser(entry_of(params, "denoiser_config", WHERE))
    return decode(LatentDiffusion, kept, WHERE, networks=networks)


def _denoiser(section: object) -> dict[str, Any]:
    """Prediction and schedule, in LatentDiffusion's words."""
    where = "denoiser_config"
    params = params_of(section, ("DiscreteDenoiser",), where)
    scaling = str(entry_of(entry_of(params, "scaling_config", where), "target", where))
    kind = scaling.rpartition(".")[2]
    if kind not in PREDICTIONS:
        raise ValueError(
            f"scaling_config.target is {kind!r:.80}; only {' or '.join(PREDICTIONS)} can be "
            "exported"
        )
    levels = mapping_of(entry_of(params, "discretization_config", where), where)
    if not str(levels.get("target")).endswith("LegacyDDPMDiscretization"):
        raise ValueError(
            f"discretization_config.target is {levels.get('target')!r:.80}; only "
            "LegacyDDPMDiscretization can be exported"
        )
    stated = mapping_of(levels.get("params") or {}, "discretization_config.params")
    return {
        "linear_start": stated.get("linear_start", 0.00085),
        "linear_end": stated.get("linear_end", 0.012),
        "timesteps": stated.get("num_timesteps", params.get("num_idx", 1000)),
        "parameterization": PREDICTIONS[kind],
    }


def _check_texts(section: object) -> None:
    models = entry_of(
        params_of(section, ("GeneralConditioner",), "conditioner_config"),
        "emb_models",
        "conditioner_config",
    )
    listed = models if isinstance(models, list) else []
    kinds = tuple(
        str(mapping_of(one, "emb_models").get("target")).rpartition(".")[2] for one in listed
    )
    if kinds != XL_TEXTS:
        raise ValueError(
            f"emb_models are {', '.join(kinds) or models!r:.80}, expected {', '.join(XL_TEXTS)}"
        )
