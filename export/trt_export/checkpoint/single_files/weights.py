"""The weights of one network in a file that has those of all, under diffusers' names."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trt_export.checkpoint.single_files.renaming import Rename
from trt_export.families import Role
from trt_pipeline.arguments import counted
from trt_pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

State: TypeAlias = "Mapping[str, Tensor]"
Prefixes: TypeAlias = Mapping[Role, str]
"""Part → how the names of its weights begin."""

AVERAGE = "model_ema."
SCHEDULE = (
    r"((sqrt|sqrt_recip|sqrt_recipm1)_)?alphas_cumprod|alphas_cumprod_prev|betas|denoiser\.sigmas"
    r"|(sqrt|log)_one_minus_alphas_cumprod|posterior_(variance|log_variance_clipped|mean_coef[12])"
)
HARMLESS = {
    r"model_ema\..*": "moving averages of the UNet's weights, of which diffusers takes none",
    r"first_stage_model\.(loss|model_ema)\..*": "the first stage's losses and moving averages",
    SCHEDULE: "the schedule, which configurations state",
    r"cond_ids|logvar|lvlb_weights|scale_factor": "of LatentDiffusion's training",
    r"embedding_manager\..*": "the words that a fine-tuning trained; --embedding adds words",
    r"(cond_stage_model|conditioner)\..*\.position_ids": "the numbers from 0",
    r"(cond_stage_model|conditioner)\..*logit_scale": "for comparing texts with pictures",
    r"cond_stage_model\.model\.attn_mask|conditioner\..*\.attn_mask": "which CLIP computes",
    r"cond_stage_model\.model\.text_projection": "of pooled text, which only XL reads",
    r"cond_stage_model\.transformer\.text_projection\.weight": "likewise",
    r"conditioner\.embedders\.0\.transformer\.text_projection\.weight": "XL pools the other text",
}
"""Weights that no part reads → why."""
_HARMLESS = re.compile("|".join(f"(?:{pattern})" for pattern in HARMLESS))


def check_owners(path: Path, prefixes: Iterable[str], names: Iterable[str]) -> None:
    """CheckpointError for weights that belong to none of the networks."""
    owners = tuple(prefixes)
    unknown = sorted(
        name for name in names if not name.startswith(owners) and not _HARMLESS.fullmatch(name)
    )
    if unknown:
        raise CheckpointError(
            f"{path} has {counted(len(unknown), 'weight')} (first: {unknown[0]:.80}) outside of "
            f"{', '.join(f'{owner}*' for owner in owners)}, which may change pictures. Take them "
            "out if they do not."
        )


def weights_below(prefix: str, state: State) -> "dict[str, Tensor]":
    """The weights whose names begin so, without the prefix."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not _HARMLESS.fullmatch(name)
    }


def averaged(path: Path, weights: State, state: State) -> "dict[str, Tensor]":
    """The UNet's moving averages, or its weights in a file that has none; CompVis' LitEma writes
    their names without dots."""
    if not any(name.startswith(AVERAGE) for name in state):
        return dict(weights)
    names = {name: f"{AVERAGE}diffusion_model{name.replace('.', '')}" for name in weights}
    missing = sorted(average for average in names.values() if average not in state)
    if missing:
        raise CheckpointError(
            f"{path}: {len(missing)} moving averages (first: {missing[0]}) are missing. "
            "Set use_ema to false in its YAML to export the weights themselves."
        )
    return {name: state[average] for name, average in names.items()}


def renamed(weights: State, rename: Rename) -> "dict[str, Tensor]":
    """Weights under their new names; one whose new name is taken keeps its old, unknown one."""
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        new = rename(name)
        new = name if new in found else new
        found[new] = _as_linear(new, tensor)
    return found


def _as_linear(name: str, tensor: "Tensor") -> "Tensor":
    """diffusers computes the VAE's attention with matrices where CompVis has 1 × 1 convolutions."""
    is_matrix = re.search(r"mid_block\.attentions\.0\.to_.*weight", name)
    return tensor.flatten(1) if is_matrix else tensor
