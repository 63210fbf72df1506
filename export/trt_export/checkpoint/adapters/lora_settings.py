"""Settings of LoRAs: what PEFT's adapter_config.json and diffusers' metadata say of their scale."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_export.checkpoint.adapters.files import PEFT_CONFIG
from trt_export.checkpoint.adapters.layer_names import TEXT_MODEL
from trt_export.checkpoint.adapters.lora_keys import LoraLayer
from trt_export.checkpoint.files.tensors import read_metadata
from trt_export.checkpoint.files.texts import read_object
from trt_pipeline.errors import CheckpointError

METADATA = "lora_adapter_metadata"
"""Where diffusers keeps LoraConfig in a file's metadata, each part's under its name."""
DEFAULT_ALPHA = 8
"""PEFT's."""
PLAIN_NAME = re.compile(r"\^?[\w.]+", re.ASCII)
"""A pattern for a layer that is but its name, or the end of it."""
HARMLESS = {
    *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode"),
    *(
        "peft_version",
        "lora_dropout",
        "r",
        "rank_pattern",
        "runtime_config",
        "ephemeral_gpu_offload",
    ),
    *("megatron_core", "qalora_group_size"),
    *("target_modules", "exclude_modules", "layers_pattern", "layers_to_transform"),
}
"""LoraConfig's settings that do not change what is added to weights: the file has the tensors."""
ONLY: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),
}
"""Setting → the values with which a LoRA is no more than its two matrices."""

NOTHING: tuple[Any, ...] = (None, False, {}, [])
"""The values of any other setting with which it does nothing."""


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """How much of a product of matrices is added to a weight."""

    alpha: float | None = None
    """Divided by the rank; None is the rank, as diffusers has it."""
    alphas: Mapping[str, float] | None = None
    """Layer, or the end of its name → its own alpha."""
    rank_stabilized: bool = False
    """Whether alpha is divided by the rank's root instead (arXiv:2312.03732)."""

    def factor(self, layer: str, rank: int, stored: float | None) -> float:
        """What a layer's product is multiplied by; stored: the alpha among the file's tensors."""
        own = [alpha for name, alpha in (self.alphas or {}).items() if _names(name, layer)]
        alpha = stored if stored is not None else own[0] if own else self.alpha
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def read_settings(path: Path, layers: Sequence[LoraLayer]) -> Mapping[str | None, LoraSettings]:
    """Part, or None for layers whose names have none → its settings.

    CheckpointError for settings with which a LoRA is more than its matrices.
    """
    config = path.with_name(PEFT_CONFIG)
    if any(layer.is_peft for layer in layers):
        if config.is_file():
            settings = _settings(str(config), read_object(config))
            return dict.fromkeys((None, *(layer.role for layer in layers)), settings)
        if not any("alpha" in layer.names for layer in layers):
            raise CheckpointError(
                f"{path}: PEFT keeps the alpha of a LoRA in {PEFT_CONFIG}, which is not beside it. "
                "Download it as well."
            )
    stated = _metadata(path)
    parts = {layer.role for layer in layers}
    return {part: _settings(f"{path}: {METADATA}", _of(part, stated)) for part in parts}


def _metadata(path: Path) -> Mapping[str, Any]:
    text = read_metadata(path).get(METADATA)
    try:
        stated = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its {METADATA} is not JSON ({error}).") from None
    if not isinstance(stated, dict):
        raise CheckpointError(f"{path}: its {METADATA} is not a JSON object.")
    return stated


def _of(part: str | None, stated: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{part}." if part else ""
    return {
        name.removeprefix(prefix): value
        for name, value in stated.items()
        if name.startswith(prefix)
    }


def _settings(where: str, stated: Mapping[str, Any]) -> LoraSettings:
    rest = dict(stated)
    alpha = rest.pop("lora_alpha", DEFAULT_ALPHA if stated else None)
    alphas = rest.pop("alpha_pattern", None) or {}
    stabilized = rest.pop("use_rslora", False)
    for name, value in rest.items():
        if name in HARMLESS or value in ONLY.get(name, NOTHING):
            continue
        raise CheckpointError(
            f"{where}: {name:.80} is {value!r:.80}, and such a LoRA cannot be fused. Merge it "
            "with PEFT where it was trained."
        )
    if not (isinstance(stabilized, bool) and isinstance(alphas, dict)):
        raise CheckpointError(f"{where}: use_rslora or alpha_pattern is not what PEFT writes.")
    for name in alphas:
        if not PLAIN_NAME.fullmatch(name):
            raise CheckpointError(
                f"{where}: alpha_pattern has {name!r:.80}, expected the name of a layer."
            )
    numbers = {name: _number(where, value) for name, value in alphas.items()}
    return LoraSettings(None if alpha is None else _number(where, alpha), numbers, stabilized)


def _number(where: str, value: object) -> float:
    if not (isinstance(value, int | float) and math.isfinite(value)):
        raise CheckpointError(f"{where}: an alpha is {value!r:.80}, expected a number.")
    return float(value)


def _names(pattern: str, layer: str) -> bool:
    """As PEFT matches: a whole name, or the end of one after a dot unless it begins with ^."""
    name, layer = (one.removeprefix("^").removeprefix(TEXT_MODEL) for one in (pattern, layer))
    return layer == name or (not pattern.startswith("^") and layer.endswith(f".{name}"))
