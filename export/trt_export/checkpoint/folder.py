"""Checkpoint: a diffusers folder, read without ever running code from it.

Nothing here imports torch: an export that has nothing to do must find that out in a moment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_export.checkpoint.text_files import read_object
from trt_export.checkpoint.weight_files import check_weight_file
from trt_export.families import Family, Role
from trt_pipeline.errors import CheckpointError

INDEX = "model_index.json"
"""Names the pipeline's class and those of its parts."""
MAX_TEXT_BYTES = 16 * 2**20
"""Largest vocabulary that is read."""
MAX_CARD_HEADER = 2**16
"""Characters."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A folder in diffusers' layout; files are opened when asked for."""

    path: Path
    name: str
    family: Family

    @cached_property
    def index(self) -> Mapping[str, Any]:
        """What model_index.json says."""
        return read_object(self.path / INDEX)

    def class_of(self, role: Role) -> str:
        """Class name of a part."""
        entry = self.index.get(self.family.parts[role].folder)
        return str(entry[-1] if isinstance(entry, list) and entry else entry)

    @cached_property
    def weights(self) -> Mapping[Role, Path]:
        """Part → its weight file."""
        return {
            role: self._first(part.folder, part.weights)
            for role, part in self.family.parts.items()
            if part.weights
        }

    @cached_property
    def configs(self) -> Mapping[Role, Path]:
        """Part → its configuration file."""
        parts = self.family.parts
        return {role: self.path / part.folder / part.config for role, part in parts.items()}

    @cached_property
    def vocabulary(self) -> Mapping[str, Path]:
        """What a file of the tokenizer holds → the file; empty without prompts."""
        tokenizer = self.family.parts.get("tokenizer")
        if tokenizer is None:
            return {}
        folder, files = tokenizer.folder, tokenizer.files
        return {content: self._first(folder, (name,)) for content, name in files.items()}

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Every file that an export reads, under the name that provenance has for it."""
        parts = [*self.configs.values(), *self.weights.values(), *self.vocabulary.values()]
        found = [self.path / INDEX, *parts]
        return {path.relative_to(self.path).as_posix(): path for path in found}

    def config(self, role: Role) -> dict[str, Any]:
        """A part's configuration; CheckpointError if it is not a JSON object."""
        return read_object(self.configs[role])

    def weights_of(self, role: Role, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A part's weights, under diffusers' names, from the content of its weight file."""
        del role
        return state

    @property
    def card(self) -> Path:
        """The model card, if there is one."""
        return self.path / "README.md"

    @cached_property
    def license(self) -> str:
        """What the model card's header says, or "unknown"."""
        card = self.card
        text = ""
        if card.is_file():
            with card.open(encoding="utf-8", errors="replace") as stream:
                text = stream.read(MAX_CARD_HEADER)
        header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        found = re.search(r"^license:\s*(\S+)", header[1], re.MULTILINE) if header else None
        return found[1] if found else "unknown"

    def _first(self, folder: str, names: tuple[str, ...]) -> Path:
        for name in names:
            if (self.path / folder / name).is_file():
                return self.path / folder / name
        raise CheckpointError(
            f"{self.path / folder} has none of {', '.join(names)}. Download it again."
        )


def check_files(checkpoint: Checkpoint) -> None:
    """CheckpointError for a file that is missing, or at a glance not what it should be: before
    gigabytes are hashed."""
    weights = set(checkpoint.weights.values())
    for file in checkpoint.files.values():
        if not file.is_file():
            raise CheckpointError(f"{file} is missing. Download the checkpoint again.")
        if file in weights:
            check_weight_file(file)
        elif file.stat().st_size > MAX_TEXT_BYTES:
            raise CheckpointError(f"{file} is larger than {MAX_TEXT_BYTES} bytes; refused.")
