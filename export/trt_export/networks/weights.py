"""Networks from a checkpoint's files, with every weight accounted for."""

import pickle
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trt_export.checkpoint.config_bounds import check_bounds
from trt_export.checkpoint.config_keys import known_settings
from trt_export.checkpoint.corrections import corrected_unet
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.weight_files import differences
from trt_export.families import Role
from trt_export.networks.clip import fill_positions
from trt_export.networks.known_parts import KNOWN_PARTS
from trt_export.networks.precision import round_graphs, round_weights
from trt_export.networks.unets import UNet
from trt_pipeline.bundle.manifest import Precision
from trt_pipeline.errors import CheckpointError

T = TypeVar("T")

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Of weights that are exported."""
UNUSED: Mapping[Role, Collection[str]] = {
    "text_encoder": ("to_logits.weight", "to_logits.bias", "text_model.embeddings.position_ids"),
}
"""Part → weights that are not read. LDMBert's output layer: pipelines read hidden states only.
CLIP's positions: the numbers from 0."""

# Weights saved before diffusers 0.12 call an attention block's layers by other names.
OLD_ATTENTION = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")
CLIP_PREFIX = "text_model."
"""Of the names in a CLIPTextModel before transformers 5.6, and in all published files."""
NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a checkpoint, in float32 and evaluation mode."""

    unet: UNet
    vae: Any
    """KLAutoencoder or VQAutoencoder."""
    text_encoder: Any = None
    """LDMBert, or None without prompts."""
    wide: Mapping[str, str] = field(default_factory=dict)
    """Graph of the VAE that stays float32 where others are float16 → why."""
    condition_factor: float = 1.0
    """What the condition of the graphs is divided by before the UNet reads it."""

    @property
    def tokens(self) -> int:
        """Tokens of the context; 0 without prompts."""
        return self.text_encoder.tokens if self.text_encoder else 0


def load_networks(
    checkpoint: Checkpoint, precision: Precision, wide: Mapping[str, str] | None = None
) -> Networks:
    """Build the networks and load their weights, rounded to the precision they will be stored in.

    wide: graphs of the VAE that stay float32 → why; those with weights beyond float16 join them.
    CheckpointError names what does not fit.
    """
    loaded: dict[Role, Any] = {}
    wide = wide or {}
    for role in checkpoint.weights:
        part = build_empty(checkpoint, role)
        _load(part.module, checkpoint, role)
        part.module.eval()
        if precision == "fp16" and role == "vae":
            wide = round_graphs(part.module, part.graphs, wide)
        elif precision == "fp16":
            round_weights(checkpoint.folder_of(role), part.module)
        loaded[role] = part
    return _networks(checkpoint, loaded, wide)


def empty_networks(checkpoint: Checkpoint) -> Networks:
    """The networks without weights; CheckpointError for a configuration that makes none."""
    return _networks(
        checkpoint, {role: build_empty(checkpoint, role) for role in checkpoint.weights}
    )


def _networks(
    checkpoint: Checkpoint, parts: Mapping[Role, Any], wide: Mapping[str, str] | None = None
) -> Networks:
    """InstructPix2Pix's UNet reads latents that are not scaled, but graphs hand on scaled ones."""
    is_image = checkpoint.family.condition == "image"
    factor = parts["vae"].scaling_factor if is_image else 1.0
    return Networks(**parts, wide=wide or {}, condition_factor=factor)


def build_empty(checkpoint: Checkpoint, role: Role) -> Any:
    """A known part without weights, on the meta device; CheckpointError if it cannot be built."""
    config, kind = checkpoint.config(role), KNOWN_PARTS[checkpoint.class_of(role)]
    if role == "vae" and not checkpoint.family.scales_latents:
        config = {**config, "scaling_factor": 1.0}
    if role == "unet":
        config = corrected_unet(checkpoint.family, config)
    try:
        check_bounds(config)
        settings = known_settings(checkpoint.class_of(role), config)
        with torch.device("meta"):
            return kind(kind.build(settings))
    except (
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        ZeroDivisionError,
        RuntimeError,
        AttributeError,
    ) as error:
        raise CheckpointError(
            f"{checkpoint.configs[role]} cannot be exported as a {checkpoint.class_of(role)}: "
            f"{_first_line(error)}."
        ) from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weight file without running code from it; CheckpointError if that is not possible.

    Of a Lightning checkpoint, the weights are its "state_dict".
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mmap = zipfile.is_zipfile(path)  # files from before torch 1.6 cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a file of tensors, or loading it could run code; refused "
            f"({_refused_part(error)}). Convert it to safetensors where you trust it."
        ) from None
    except Exception as error:  # damaged pickles end in errors of every kind
        raise CheckpointError(
            f"{path} is damaged or incomplete ({_first_line(error)}). Download it again."
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path} does not hold a table of tensors. Download it again.")
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _refused_part(error: Exception) -> str:
    """What torch did not take, without its advice to load the file all the same."""
    found = re.search(r"GLOBAL [\w.]+|Unsupported [^.\n]{1,80}", str(error))
    return found[0] if found else type(error).__name__


def _load(module: nn.Module, checkpoint: Checkpoint, role: Role) -> None:
    """Give every parameter its weight, as float32; one shard is in memory at a time."""
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    files, config = checkpoint.weights[role], checkpoint.configs[role]
    loaded = dict[str, Tensor]()
    if files.index:
        placed = _current(files.placed, role, files.index, expected)
        _check_names(expected, placed, files.index, config)
    for path in files.paths:
        weights = _read_part(checkpoint, role, path, expected)
        if not files.index:
            _check_names(expected, weights, path, config)
        loaded.update(_as_float32(weights, expected, path))
        del weights  # before the next shard is read
    module.load_state_dict(loaded, strict=False, assign=True)
    fill_positions(module)


def _read_part(
    checkpoint: Checkpoint, role: Role, path: Path, expected: Collection[str]
) -> dict[str, Tensor]:
    state = read_weights(path)
    checkpoint.weights[role].check_shard(path, state)
    return _current(checkpoint.weights_of(role, state), role, path, expected)


def _as_float32(
    weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size], path: Path
) -> Iterator[tuple[str, Tensor]]:
    for name, weight in weights.items():
        if weight.shape != expected[name]:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(weight.shape)}, but its configuration asks for "
                f"{tuple(expected[name])}."
            )
        _check_stored(weight, name, path)
        numbers = weight.float()
        if not bool(numbers.isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers.")
        yield name, numbers


def _check_stored(weight: Tensor, name: str, path: Path) -> None:
    """A pickle may claim that a tensor of millions has one number in the file, or none."""
    if weight.dtype not in DTYPES or weight.device.type != "cpu" or weight.layout != torch.strided:
        raise CheckpointError(
            f"{path}: {name} is a {weight.layout} tensor of {weight.dtype} on {weight.device}, "
            "expected plain floating-point numbers."
        )
    if weight.nbytes > weight.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name} has fewer numbers in the file than its shape.")


def _check_names(
    expected: Mapping[str, Any], found: Mapping[str, Any], path: Path, config: Path
) -> None:
    if differing := differences(expected, found):
        raise CheckpointError(
            f"{path} does not fit {config}: of {len(expected)} weights, {differing}. One of the "
            "two files is of another model."
        )


def _current(
    named: Mapping[str, T], role: Role, path: Path, expected: Collection[str]
) -> dict[str, T]:
    """The same under the names that the installed libraries have, without what is not used.

    CheckpointError for a weight under both of its names: diffusers takes the old one.
    """
    ours = {name.removeprefix(CLIP_PREFIX): name for name in expected}
    stated: dict[str, str] = {}
    for name in (one for one in named if one not in UNUSED.get(role, ())):
        other = stated.setdefault(_current_name(name, ours), name)
        if other != name:
            raise CheckpointError(
                f"{path} holds one weight under two names, {' and '.join(sorted((other, name)))}. "
                "Take one of them out."
            )
    return {current: named[name] for current, name in stated.items()}


def _current_name(name: str, ours: Mapping[str, str]) -> str:
    """ours: names without CLIP's prefix → as they are expected."""
    name = OLD_ATTENTION.sub(lambda found: f"{found[1]}.{NEW_ATTENTION[found[2]]}.", name)
    return ours.get(name.removeprefix(CLIP_PREFIX), name)
