"""Checkpoint: a diffusers folder, read without ever running code from it.

Nothing here imports torch: an export that has nothing to do must find that out in a moment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_export.checkpoint.adapters.files import EmbeddingFile, LoraFile, adapter_files
from trt_export.checkpoint.adapters.textual_inversions import (
    TOKENIZER_OF,
    Inversion,
    read_inversions,
)
from trt_export.checkpoint.configs.model_index import INDEX, folder_of
from trt_export.checkpoint.files.texts import read_object
from trt_export.checkpoint.files.weights import WeightFiles, check_weights, find_weights
from trt_export.families import TOKENIZERS, Family, Role
from trt_pipeline.errors import CheckpointError

MAX_TEXT_BYTES = 16 * 2**20
"""Largest vocabulary that is read."""
ADAPTER = "adapter_config.json"
"""Where the peft package is installed, transformers loads the adapter that it describes."""
MAX_CARD_HEADER = 2**16
"""Characters."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A folder in diffusers' layout; files are opened when asked for."""

    path: Path
    name: str
    family: Family
    variant: str | None = field(default=None, kw_only=True)
    """Of its weight files, such as fp16; None for the plain ones."""
    loras: tuple[LoraFile, ...] = field(default=(), kw_only=True)
    """To be fused into its weights, in this order."""
    embeddings: tuple[EmbeddingFile, ...] = field(default=(), kw_only=True)
    """To become tokens of its text encoders."""

    @cached_property
    def index(self) -> Mapping[str, Any]:
        """What model_index.json says."""
        return read_object(self.path / INDEX)

    def class_of(self, role: Role) -> str:
        """Class name of a part."""
        entry = self.index.get(self.folder_of(role))
        return str(entry[-1] if isinstance(entry, list) and entry else entry)

    def folder_of(self, role: Role) -> str:
        """The name of a part's folder."""
        return folder_of(self.family.parts[role], self.index)

    @cached_property
    def weights(self) -> Mapping[Role, WeightFiles]:
        """Part → its weight files."""
        return {
            role: find_weights(self.path / self.folder_of(role), part.weights, self.variant)
            for role, part in self.family.parts.items()
            if part.weights
        }

    @cached_property
    def configs(self) -> Mapping[Role, Path]:
        """Part → its configuration file."""
        return {
            role: self.path / self.folder_of(role) / part.config
            for role, part in self.family.parts.items()
            if part.config
        }

    @cached_property
    def tokenizer_files(self) -> Mapping[Role, Mapping[str, Path]]:
        """Tokenizer → transformers' name → file, of what it is read from."""
        return {role: self._files_of(role) for role in TOKENIZERS if role in self.family.parts}

    def _files_of(self, role: Role) -> Mapping[str, Path]:
        folder = self.path / self.folder_of(role)
        found = {name: folder / name for name in self.family.parts[role].files}
        return {name: path for name, path in found.items() if path.is_file()}

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Every file of its own that an export reads, under the name that provenance has for it."""
        weights = [file for part in self.weights.values() for file in part.files]
        tokenizers = [file for files in self.tokenizer_files.values() for file in files.values()]
        parts = [*self.configs.values(), *weights, *tokenizers]
        found = [self.path / INDEX, *parts]
        return {path.relative_to(self.path).as_posix(): path for path in found}

    @cached_property
    def read_files(self) -> Mapping[str, Path]:
        """The same, and those of what is added to it."""
        return {**self.files, **adapter_files(self.loras, self.embeddings)}

    def config(self, role: Role) -> dict[str, Any]:
        """A part's configuration; CheckpointError if it is not a JSON object."""
        return read_object(self.configs[role])

    def setting(self, name: str, default: Any) -> Any:
        """A setting of the pipeline, as model_index.json has it."""
        return self.index.get(name, default)

    def weights_of(self, role: Role, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A part's weights, under diffusers' names, from the content of a weight file."""
        del role
        return state

    @cached_property
    def inversions(self) -> list[Inversion]:
        """What its embeddings hold; CheckpointError for those of other text encoders."""
        encoders = [role for role in TOKENIZER_OF if role in self.family.parts]
        return read_inversions(self.embeddings, encoders)

    @property
    def new_tokens(self) -> list[str]:
        """The tokens of its embeddings, in their order."""
        return [token for one in self.inversions for token in one.tokens]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how it was read."""
        return ()

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
        lines = re.findall(r"^(license\w*):\s*(\S+)", header[1], re.MULTILINE) if header else []
        entries: dict[str, str] = dict(lines)
        named = entries.get("license", "unknown")
        return entries.get("license_name", named) if named == "other" else named


def check_files(checkpoint: Checkpoint) -> None:
    """CheckpointError for a file that is missing, or at a glance not what it should be: before
    gigabytes are hashed."""
    weights = {path for part in checkpoint.weights.values() for path in part.paths}
    for file in checkpoint.files.values():
        if not file.is_file():
            raise CheckpointError(f"{file} is missing. Download the checkpoint again.")
        if file not in weights and file.stat().st_size > MAX_TEXT_BYTES:
            raise CheckpointError(f"{file} is larger than {MAX_TEXT_BYTES} bytes; refused.")
    for part in checkpoint.weights.values():
        check_weights(part)
        adapter = part.paths[0].with_name(ADAPTER)
        if adapter.exists():
            raise CheckpointError(
                f"{adapter}: transformers would change the weights by this adapter. Merge it into "
                "them, or remove it."
            )
