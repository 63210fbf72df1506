"""Networks from a checkpoint's files, with every weight accounted for."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from trt_export.checkpoint.configs.bounds import check_bounds
from trt_export.checkpoint.configs.corrections import corrected_unet
from trt_export.checkpoint.configs.keys import known_settings
from trt_export.checkpoint.files.tensors import first_line, read_headers, read_weights
from trt_export.checkpoint.files.weights import differences
from trt_export.checkpoint.folder import Checkpoint
from trt_export.families import Role
from trt_export.networks.known_parts import KNOWN_PARTS
from trt_export.networks.texts.clip import fill_positions
from trt_export.networks.texts.clip_pair import CLIPPair
from trt_export.networks.texts.embeddings import add_tokens
from trt_export.networks.unets.unet import UNet
from trt_export.networks.weights.loras import fuse_loras
from trt_export.networks.weights.numbers import as_float32
from trt_export.networks.weights.of_graphs import Needs, needs_of
from trt_export.networks.weights.precision import round_graphs, round_weights
from trt_pipeline.bundle.manifest import Precision
from trt_pipeline.errors import CheckpointError

T = TypeVar("T")

UNUSED: Mapping[Role, Collection[str]] = {
    "text_encoder": ("to_logits.weight", "to_logits.bias", "text_model.embeddings.position_ids"),
    "text_encoder_2": ("text_model.embeddings.position_ids",),
    "safety_checker": ("vision_model.vision_model.embeddings.position_ids",),
}
"""Part → weights that are not read. LDMBert's output layer: pipelines read hidden states only.
CLIP's positions: the numbers from 0."""

# Weights saved before diffusers 0.12 call an attention block's layers by other names.
OLD_ATTENTION = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")
ROLES: tuple[Role, ...] = ("text_encoder", "text_encoder_2", "unet", "vae")
"""Parts that are networks."""
CLIP_PREFIX = "text_model."
"""Of the names in a CLIPTextModel before transformers 5.6, and in all published files."""
CLIP_VISION = "vision_model.vision_model."
"""Likewise, of a safety checker."""
NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a checkpoint, in float32 and evaluation mode."""

    unet: UNet
    vae: Any
    """KLAutoencoder or VQAutoencoder."""
    text_encoder: Any = None
    """LDMBert or CLIPText; None without prompts."""
    text_encoder_2: Any = None
    """CLIPTextWithProjection, of a pair of encoders."""
    tiny_decoder: Any = None
    """TinyAutoencoder, on request."""
    safety_checker: Any = None
    """SafetyChecker, on request."""
    wide: Mapping[str, str] = field(default_factory=dict)
    """Graph of the VAE that stays float32 where others are float16 → why."""
    condition_factor: float = 1.0
    """What the condition of the graphs is divided by before the UNet reads it."""

    @property
    def added(self) -> Mapping[str, Any]:
        """Graph → the part of its own that it has."""
        parts = {"tiny_decoder": self.tiny_decoder, "safety_checker": self.safety_checker}
        return {graph: part for graph, part in parts.items() if part}

    @property
    def text(self) -> Any:
        """What makes the context: one encoder, or a pair; None without prompts."""
        if self.text_encoder_2 is None:
            return self.text_encoder
        return CLIPPair(self.text_encoder, self.text_encoder_2)

    @property
    def modules(self) -> dict[Role, nn.Module]:
        """Part → its network."""
        parts = {role: getattr(self, role) for role in ROLES if getattr(self, role, None)}
        return {role: part.module for role, part in parts.items()}

    @property
    def tokens(self) -> int:
        """Tokens of the context; 0 without prompts."""
        return self.text.tokens if self.text else 0


def load_networks(
    checkpoint: Checkpoint,
    precision: Precision,
    wide: Mapping[str, str] | None = None,
    graph: str | None = None,
) -> Networks:
    """Build the networks and load their weights, rounded to the precision they will be stored in.

    wide: graphs of the VAE that stay float32 → why; those with weights beyond float16 join them.
    graph: the only one that they are for; what it does not need has no numbers, and takes no
    memory.
    CheckpointError names what does not fit.
    """
    loaded: dict[Role, Any] = {role: build_empty(checkpoint, role) for role in checkpoint.weights}
    needs = needs_of(graph, loaded["unet"], loaded["vae"]) if graph else _needs_all
    wide = wide or {}
    for role, part in loaded.items():
        _load(part.module, checkpoint, role, needs)
        fuse_loras(checkpoint.loras, role, part.module)
        add_tokens(checkpoint, role, part.module)
        part.module.eval()
        if precision == "fp16" and role == "vae":
            wide = round_graphs(part.module, part.graphs, wide)
        elif precision == "fp16" and role not in wide:
            round_weights(checkpoint.folder_of(role), part.module)
    return _networks(checkpoint, loaded, wide)


def _needs_all(role: Role, name: str) -> bool:
    del role, name
    return True


def empty_networks(checkpoint: Checkpoint) -> Networks:
    """The networks without weights; CheckpointError for a configuration that makes none."""
    parts = {role: build_empty(checkpoint, role) for role in checkpoint.weights}
    for role, part in parts.items():
        add_tokens(checkpoint, role, part.module)
    return _networks(checkpoint, parts)


def _networks(
    checkpoint: Checkpoint, parts: dict[Role, Any], wide: Mapping[str, str] | None = None
) -> Networks:
    """InstructPix2Pix's UNet reads latents that are not scaled, but graphs hand on scaled ones."""
    is_image = checkpoint.family.condition == "image"
    factor = parts["vae"].scaling_factor if is_image else 1.0
    if "safety_checker" in parts:
        _give_pictures(checkpoint, parts["safety_checker"])
    return Networks(**parts, wide=wide or {}, condition_factor=factor)


def _give_pictures(checkpoint: Checkpoint, checker: Any) -> None:
    """Tell a safety checker how it is given pictures."""
    try:
        checker.prepare(checkpoint.config("feature_extractor"))
    except ValueError as error:
        path = checkpoint.configs["feature_extractor"]
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


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
            f"{first_line(error)}."
        ) from None


def _load(module: nn.Module, checkpoint: Checkpoint, role: Role, needs: Needs) -> None:
    """Give every parameter that is needed its weight, as float32; one shard is in memory at a
    time."""
    expected = _shapes(module)
    if not any(needs(role, name) for name in expected):
        return
    loaded = dict[str, Tensor]()
    for path, weights in _checked(expected, checkpoint, role, read_weights):
        for name in [name for name in weights if needs(role, name)]:
            loaded[name] = as_float32(weights.pop(name), name, path)
        weights.clear()  # before the next shard is read
    module.load_state_dict(loaded, strict=False, assign=True)
    fill_positions(module)


def check_weights_fit(checkpoint: Checkpoint) -> None:
    """CheckpointError for weights that are missing, unknown, or of another shape than the
    configurations ask for; of safetensors files, only headers are read."""
    for role in checkpoint.weights:
        expected = _shapes(build_empty(checkpoint, role).module)
        for _ in _checked(expected, checkpoint, role, read_headers):
            pass


def _shapes(module: nn.Module) -> Mapping[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _checked(
    expected: Mapping[str, torch.Size],
    checkpoint: Checkpoint,
    role: Role,
    read: Callable[[Path], dict[str, Tensor]],
) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    """Each weight file of a part with its weights, which have the names and shapes expected."""
    files, config = checkpoint.weights[role], checkpoint.configs[role]
    if files.index:
        placed = _current(files.placed, role, files.index, expected)
        _check_names(expected, placed, files.index, config)
    for path in files.paths:
        weights = _read_part(checkpoint, role, path, expected, read)
        if not files.index:
            _check_names(expected, weights, path, config)
        _check_shapes(expected, weights, path)
        yield path, weights


def _read_part(
    checkpoint: Checkpoint,
    role: Role,
    path: Path,
    expected: Collection[str],
    read: Callable[[Path], dict[str, Tensor]],
) -> dict[str, Tensor]:
    state = read(path)
    checkpoint.weights[role].check_shard(path, state)
    return _current(checkpoint.weights_of(role, state), role, path, expected)


def _check_shapes(
    expected: Mapping[str, torch.Size], weights: Mapping[str, Tensor], path: Path
) -> None:
    for name, weight in weights.items():
        if weight.shape != expected[name]:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(weight.shape)}, but its configuration asks for "
                f"{tuple(expected[name])}."
            )


def _check_names(
    expected: Mapping[str, Any], found: Mapping[str, Any], path: Path, config: Path
) -> None:
    if differing := differences(expected, found):
        if path == config:  # a single file, from whose shapes the configuration follows
            raise CheckpointError(
                f"{path} is incomplete, or of a kind that is not known: of {len(expected)} "
                f"weights, {differing}."
            )
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
    ours = {_without_clip(name): name for name in expected}
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
    return ours.get(_without_clip(name), name)


def _without_clip(name: str) -> str:
    return name.removeprefix(CLIP_PREFIX).replace(CLIP_VISION, "vision_model.", 1)
