"""SingleFileCheckpoint: Stable Diffusion as users share it, one file without configurations."""

import atexit
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from trt_export.checkpoint.files.tensors import Shapes, read_metadata
from trt_export.checkpoint.files.texts import read_object
from trt_export.checkpoint.files.weights import WeightFiles
from trt_export.checkpoint.folder import Checkpoint, check_files
from trt_export.checkpoint.single_files.generations import Generation, generation_of
from trt_export.checkpoint.single_files.marks import V_PREDICTION, ZERO_SNR, Marks
from trt_export.checkpoint.single_files.open_clip import open_clip_weights
from trt_export.checkpoint.single_files.renaming import renamer
from trt_export.checkpoint.single_files.settings import Settings, from_folder, from_shapes
from trt_export.checkpoint.single_files.stable_diffusion_yaml import read_stable_diffusion
from trt_export.checkpoint.single_files.weights import (
    averaged,
    check_owners,
    renamed,
    weights_below,
)
from trt_export.checkpoint.tokenizers.clip_vocabulary import write_clip_tokenizer
from trt_export.families import TOKENIZERS, Role
from trt_pipeline.errors import CheckpointError

VOCABULARY = ("vocab.json", "merges.txt")


@dataclass(frozen=True, eq=False)
class SingleFileCheckpoint(Checkpoint):
    """A file, and what it does not say."""

    generation: Generation
    settings: Settings

    @property
    def index(self) -> Mapping[str, Any]:
        """Of the folder whose configurations the file has."""
        return self.settings.folder.index

    def class_of(self, role: Role) -> str:
        """Class name of a part."""
        if role == "scheduler":
            stated = self.settings.configs[role].get("_class_name")
            return str(stated or self.settings.folder.class_of(role))
        return self.settings.folder.class_of(role)

    def folder_of(self, role: Role) -> str:
        """Where a folder would have a part."""
        return self.settings.folder.folder_of(role)

    @cached_property
    def weights(self) -> Mapping[Role, WeightFiles]:
        return dict.fromkeys(self.generation.prefixes, WeightFiles((self.path,)))

    @cached_property
    def configs(self) -> Mapping[Role, Path]:
        return self.settings.sources

    @cached_property
    def tokenizer_files(self) -> Mapping[Role, Mapping[str, Path]]:
        """The folder's tokenizers; CLIP's published vocabulary where it has none."""
        published = Checkpoint(self.generation.published, self.name, self.family)
        found: dict[Role, Mapping[str, Path]] = {}
        for role in (one for one in TOKENIZERS if one in self.family.parts):
            theirs = self.settings.folder.tokenizer_files[role]
            if "tokenizer.json" not in theirs and VOCABULARY[0] not in theirs:
                vocabulary = {name: _published_vocabulary() / name for name in VOCABULARY}
                theirs = {**vocabulary, **published.tokenizer_files[role]}
            found[role] = theirs
        return found

    @cached_property
    def files(self) -> Mapping[str, Path]:
        return {
            self.path.name: self.path,
            **self.settings.files,
            **{
                f"{role}/{name}": file
                for role, files in self.tokenizer_files.items()
                for name, file in files.items()
            },
        }

    def config(self, role: Role) -> dict[str, Any]:
        """A part's configuration as diffusers would have it."""
        if role in TOKENIZERS:
            file = self.tokenizer_files[role].get("tokenizer_config.json")
            return read_object(file) if file else {}
        return dict(self.settings.configs[role])

    def weights_of(self, role: Role, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A part's weights, under diffusers' names."""
        weights = weights_below(self.generation.prefixes[role], state)
        if role == "unet" and self.settings.use_ema:
            weights = averaged(self.path, weights, state)
        if self.generation.text_kinds.get(role) == "open_clip":
            return open_clip_weights(weights, self.config(role).get("num_hidden_layers", 12))
        try:
            return renamed(weights, renamer(self.class_of(role), self.config(role)))
        except ValueError as error:
            raise CheckpointError(f"{self.configs[role]} does not fit a file: {error}.") from None

    @property
    def notes(self) -> tuple[str, ...]:
        return self.settings.notes

    @property
    def card(self) -> Path:
        return self.path.with_name("README.md")


def open_stable_diffusion(path: Path, config: Path | None, shapes: Shapes) -> SingleFileCheckpoint:
    """A file of Stable Diffusion; CheckpointError if it cannot be exported.

    config: a YAML or a folder in diffusers' layout; None takes the YAML with the file's own name.
    shapes: of the file's weights.
    """
    generation = generation_of(path, shapes)
    unmarked = {name: one for name, one in shapes.items() if name not in (V_PREDICTION, ZERO_SNR)}
    check_owners(path, generation.prefixes.values(), unmarked)
    beside = path.with_suffix(".yaml")
    config = config or (beside if beside.is_file() else None)
    if config and config.is_dir():
        settings = from_folder(path, config, generation)
    else:
        if "scale_factor" in shapes and not config:
            raise CheckpointError(
                f"{path} holds a scale_factor of its latents. Give the configurations that say "
                "whether it is used with --config."
            )
        stated = read_stable_diffusion(config, generation.name) if config else None
        marks = Marks.of(path, shapes, read_metadata(path))
        settings = from_shapes(path, generation, unmarked, marks, stated, config)
    checkpoint = SingleFileCheckpoint(path, path.stem, settings.family, generation, settings)
    check_files(checkpoint)
    return checkpoint


@cache
def _published_vocabulary() -> Path:
    """CLIP's tokenizer as files, for as long as this process lives."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_clip_tokenizer(folder)
    return folder
