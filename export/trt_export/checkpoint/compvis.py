"""CompVisCheckpoint: CompVis' own layout, one file with the weights of all networks.

Such a file comes with a YAML of its architecture and schedule, and without a vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_export.checkpoint.compvis_config import LatentDiffusion, read_config
from trt_export.checkpoint.folder import PIPELINES, TEXT_TO_IMAGE, WEIGHTS, Checkpoint, check_files
from trt_pipeline.errors import CheckpointError

PUBLISHED = Path(__file__).with_name("published")
PUBLISHED_CONFIG = PUBLISHED / "txt2img-1p4B-eval.yaml"
PUBLISHED_VOCAB = PUBLISHED / "ldm_text2im_large_256" / "tokenizer" / "vocab.txt"


@dataclass(frozen=True)
class CompVisCheckpoint(Checkpoint):
    """A file, its YAML and a vocabulary, in the words of diffusers' layout."""

    config_file: Path
    vocab_file: Path

    @cached_property
    def original(self) -> LatentDiffusion:
        """What the YAML says; CheckpointError if it cannot be exported."""
        return read_config(self.config_file)

    @cached_property
    def weights(self) -> Mapping[str, Path]:
        return dict.fromkeys(WEIGHTS, self.path)

    @cached_property
    def vocab(self) -> Path:
        return self.vocab_file

    @cached_property
    def configs(self) -> Mapping[str, Path]:
        return dict.fromkeys((*WEIGHTS, "scheduler", "tokenizer"), self.config_file)

    @cached_property
    def files(self) -> Mapping[str, Path]:
        return {
            self.path.name: self.path,
            f"config/{self.config_file.name}": self.config_file,
            f"tokenizer/{self.vocab_file.name}": self.vocab_file,
        }

    @cached_property
    def pipeline(self) -> str:
        return TEXT_TO_IMAGE

    def class_of(self, component: str) -> str:
        """The only class that the layout has for a component."""
        return PIPELINES[TEXT_TO_IMAGE][component][0]

    @property
    def card(self) -> Path:
        return self.path.with_name("README.md")

    def config(self, component: str) -> dict[str, Any]:
        """A component's configuration as diffusers would have it."""
        match component:
            case "unet":
                return self.original.unet.as_diffusers()
            case "vqvae":
                return self.original.vqvae.as_diffusers(self.original.scale_factor)
            case "bert":
                return self.original.bert.as_diffusers()
            case "scheduler":
                return self.original.as_scheduler()
            case _:
                return {}


def open_file(path: Path, config: Path | None, vocab: Path | None) -> CompVisCheckpoint:
    """A checkpoint in CompVis' layout; CheckpointError if it cannot be exported.

    config, vocab: None takes what lies beside the file, then what was published with CompVis'
    text-to-image model.
    """
    beside = path.with_name("vocab.txt")
    vocab = vocab or (beside if beside.is_file() else PUBLISHED_VOCAB)
    checkpoint = CompVisCheckpoint(path, path.stem, config or _config_beside(path), vocab)
    check_files(checkpoint)
    _ = checkpoint.original  # what cannot be exported is refused before anything begins
    return checkpoint


def _config_beside(path: Path) -> Path:
    for named in (path.with_suffix(".yaml"), path.with_name("config.yaml")):
        if named.is_file():
            return named
    found = sorted(path.parent.glob("*.yaml"))
    if len(found) > 1:
        listed = ", ".join(one.name for one in found)
        raise CheckpointError(f"{path}: any of {listed} may describe it. Choose with --config.")
    return found[0] if found else PUBLISHED_CONFIG
