"""What a bundle has on request, besides what its family always has."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_export.checkpoint.configs.model_index import check_index
from trt_export.checkpoint.files.texts import read_object
from trt_export.checkpoint.files.weights import WeightFiles, find_weights
from trt_export.checkpoint.folder import Checkpoint, check_files
from trt_export.families import SAFETY_CHECKER, TINY_DECODER, Role
from trt_pipeline.errors import CheckpointError


def with_safety_checker(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its own safety checker; CheckpointError if it has none."""
    if not checkpoint.path.is_dir():
        raise CheckpointError(
            f"{checkpoint.path} is a single file, which has no safety checker. Export a folder in "
            "diffusers' layout, or leave --safety-checker out."
        )
    entry = checkpoint.index.get("safety_checker")
    if not isinstance(entry, list) or not any(entry):
        raise CheckpointError(
            f"{checkpoint.path} has no safety_checker that could be exported. Leave "
            "--safety-checker out."
        )
    parts = {**checkpoint.family.parts, **SAFETY_CHECKER}
    family = replace(checkpoint.family, parts=parts)
    check_index(checkpoint.path, family)
    found = replace(checkpoint, family=family)
    check_files(found)
    return found


def with_tiny_decoder(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with a second decoder from a folder of its own; CheckpointError if there is
    none in it."""
    config = folder / TINY_DECODER.config
    if not config.is_file():
        raise CheckpointError(f"{folder} has no {config.name}. Name the folder of a TAESD.")
    kind = read_object(config).get("_class_name")
    if kind not in TINY_DECODER.classes:
        raise CheckpointError(
            f"{config} is of a {kind!r:.80}; only AutoencoderTiny can be exported."
        )
    parts = {**checkpoint.family.parts, "tiny_decoder": TINY_DECODER}
    family = replace(checkpoint.family, parts=parts)
    found = WithTinyDecoder(checkpoint.path, checkpoint.name, family, checkpoint, folder)
    check_files(found)
    return found


@dataclass(frozen=True, eq=False)
class WithTinyDecoder(Checkpoint):
    """A checkpoint of any layout, and a decoder beside it."""

    own: Checkpoint
    folder: Path
    """Of the decoder."""

    @property
    def index(self) -> Mapping[str, Any]:
        return self.own.index

    def class_of(self, role: Role) -> str:
        if role == "tiny_decoder":
            return str(self.config(role).get("_class_name"))
        return self.own.class_of(role)

    def folder_of(self, role: Role) -> str:
        return "tiny_decoder" if role == "tiny_decoder" else self.own.folder_of(role)

    @cached_property
    def weights(self) -> Mapping[Role, WeightFiles]:
        decoder = find_weights(self.folder, TINY_DECODER.weights, None)
        return {**self.own.weights, "tiny_decoder": decoder}

    @cached_property
    def configs(self) -> Mapping[Role, Path]:
        return {**self.own.configs, "tiny_decoder": self.folder / TINY_DECODER.config}

    @property
    def tokenizer_files(self) -> Mapping[Role, Mapping[str, Path]]:
        return self.own.tokenizer_files

    @cached_property
    def files(self) -> Mapping[str, Path]:
        decoder = [self.configs["tiny_decoder"], *self.weights["tiny_decoder"].files]
        return {**self.own.files, **{f"tiny_decoder/{one.name}": one for one in decoder}}

    def config(self, role: Role) -> dict[str, Any]:
        if role == "tiny_decoder":
            return read_object(self.configs[role])
        return self.own.config(role)

    def setting(self, name: str, default: Any) -> Any:
        return self.own.setting(name, default)

    def weights_of(self, role: Role, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return state if role == "tiny_decoder" else self.own.weights_of(role, state)

    @property
    def notes(self) -> tuple[str, ...]:
        return self.own.notes

    @property
    def card(self) -> Path:
        return self.own.card
