"""CompVisCheckpoint: CompVis' own layout, one file with the weights of all networks.

Such a file comes with a YAML of its architecture and schedule, and without a vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_export.checkpoint.files.weights import WeightFiles
from trt_export.checkpoint.folder import Checkpoint, check_files
from trt_export.checkpoint.single_files.compvis_config import LatentDiffusion, read_config
from trt_export.checkpoint.single_files.renaming import renamer
from trt_export.checkpoint.single_files.weights import (
    averaged,
    check_owners,
    renamed,
    weights_below,
)
from trt_export.families import Role
from trt_pipeline.errors import CheckpointError

PUBLISHED = Path(__file__).parents[1] / "published"
PUBLISHED_CONFIG = PUBLISHED / "txt2img-1p4B-eval.yaml"
PUBLISHED_VOCAB = PUBLISHED / "ldm_text2im_large_256" / "tokenizer" / "vocab.txt"


@dataclass(frozen=True, eq=False)
class CompVisCheckpoint(Checkpoint):
    """A file, its YAML and a vocabulary, in the words of diffusers' layout."""

    config_file: Path
    vocab_file: Path
    original: LatentDiffusion
    """What the YAML says."""

    @cached_property
    def weights(self) -> Mapping[Role, WeightFiles]:
        return dict.fromkeys(self.original.networks, WeightFiles((self.path,)))

    @cached_property
    def tokenizer_files(self) -> Mapping[Role, Mapping[str, Path]]:
        name = "tokenizer.json" if self.vocab_file.suffix == ".json" else "vocab.txt"
        return {"tokenizer": {name: self.vocab_file}} if "tokenizer" in self.family.parts else {}

    @cached_property
    def configs(self) -> Mapping[Role, Path]:
        return dict.fromkeys(self.family.parts, self.config_file)

    @cached_property
    def files(self) -> Mapping[str, Path]:
        return {
            self.path.name: self.path,
            f"config/{self.config_file.name}": self.config_file,
            **{
                f"{role}/{file.name}": file
                for role, files in self.tokenizer_files.items()
                for file in files.values()
            },
        }

    def class_of(self, role: Role) -> str:
        """The class that the layout has for a part."""
        return "DDIMScheduler" if role == "scheduler" else self.family.parts[role].classes[0]

    def folder_of(self, role: Role) -> str:
        """Where the layout has a part."""
        return self.family.parts[role].folder

    def config(self, role: Role) -> dict[str, Any]:
        """A part's configuration as diffusers would have it."""
        return self.original.as_diffusers(role)

    def setting(self, name: str, default: Any) -> Any:
        """The default: a single file has no settings of diffusers' pipelines."""
        del name
        return default

    def weights_of(self, role: Role, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A network's weights, under diffusers' names."""
        sections = self.family.single_file.networks if self.family.single_file else {}
        check_owners(self.path, [section.prefix for section in sections.values()], state)
        weights = weights_below(sections[role].prefix, state)
        if role == "unet" and self.original.use_ema:
            weights = averaged(self.path, weights, state)
        return renamed(weights, renamer(self.class_of(role), self.config(role)))

    @property
    def card(self) -> Path:
        return self.path.with_name("README.md")


def open_compvis(path: Path, config: Path | None, vocab: Path | None) -> CompVisCheckpoint:
    """A checkpoint in CompVis' layout; CheckpointError if it cannot be exported.

    config: a YAML. vocab: a vocab.txt or a tokenizer.json. None takes what lies beside the file,
    then what was published with CompVis' text-to-image model.
    """
    beside = path.with_name("vocab.txt")
    vocab = vocab or (beside if beside.is_file() else PUBLISHED_VOCAB)
    checkpoint = describe_file(path, config or _config_beside(path), vocab)
    check_files(checkpoint)
    return checkpoint


def describe_file(path: Path, config: Path, vocab: Path) -> CompVisCheckpoint:
    """A checkpoint of which only the YAML is read."""
    family, original = read_config(config)
    return CompVisCheckpoint(path, path.stem, family, config, vocab, original)


def _config_beside(path: Path) -> Path:
    for named in (path.with_suffix(".yaml"), path.with_name("config.yaml")):
        if named.is_file():
            return named
    found = sorted(path.parent.glob("*.yaml"))
    if len(found) > 1:
        listed = ", ".join(one.name for one in found)
        raise CheckpointError(f"{path}: any of {listed} may describe it. Choose with --config.")
    return found[0] if found else PUBLISHED_CONFIG
