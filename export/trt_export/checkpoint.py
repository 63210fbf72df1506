"""Checkpoint: a diffusers folder, read without ever running code from it.

Nothing here imports torch: an export that has nothing to do must find that out in a moment.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trt_pipeline.errors import CheckpointError

EMBEDDED = Path(__file__).parent / "shapes" / "checkpoint"
PIPELINE = "LDMTextToImagePipeline"
COMPONENTS = {
    "bert": ("LDMBertModel",),
    "unet": ("UNet2DConditionModel",),
    "vqvae": ("AutoencoderKL",),
    "scheduler": ("DDIMScheduler",),
    "tokenizer": ("BertTokenizer", "BertTokenizerFast"),
}
"""Parts of the pipeline and the classes that can be exported for each."""
WEIGHTS = {
    "bert": ("model.safetensors", "pytorch_model.bin"),
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "vqvae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
}
"""Weight files by preference: safetensors holds no code, so it comes first."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder in the layout of LDMTextToImagePipeline; files are opened when asked for."""

    path: Path
    name: str

    @cached_property
    def weights(self) -> Mapping[str, Path]:
        """Component → its weight file."""
        return {part: self._first(part, names) for part, names in WEIGHTS.items()}

    @cached_property
    def vocab(self) -> Path:
        return self._first("tokenizer", ("vocab.txt",))

    @cached_property
    def configs(self) -> Mapping[str, Path]:
        """Component → its configuration file; the pipeline's own under "index"."""
        return {
            "index": self.path / "model_index.json",
            "bert": self.path / "bert" / "config.json",
            "unet": self.path / "unet" / "config.json",
            "vqvae": self.path / "vqvae" / "config.json",
            "scheduler": self.path / "scheduler" / "scheduler_config.json",
            "tokenizer": self.path / "tokenizer" / "tokenizer_config.json",
        }

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Every file that an export reads."""
        return (*self.configs.values(), *self.weights.values(), self.vocab)

    def config(self, component: str) -> dict[str, Any]:
        """A component's configuration; CheckpointError if it is no JSON object."""
        return _read_object(self.configs[component])

    @cached_property
    def license(self) -> str:
        """What the model card's header says, or "unknown"."""
        card = self.path / "README.md"
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        found = re.search(r"^license:\s*(\S+)", header[1], re.MULTILINE) if header else None
        return found[1] if found else "unknown"

    def _first(self, component: str, names: tuple[str, ...]) -> Path:
        folder = self.path / component
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise CheckpointError(f"{folder}: none of {', '.join(names)} is there. Download it again.")


def open_checkpoint(model: str | None, *, download: bool = True) -> Checkpoint:
    """Find a checkpoint: a folder, a hub id such as CompVis/ldm-text2im-large-256, or None for the
    one that ships with this package. CheckpointError if it is none that can be exported.

    download: whether a hub id may be downloaded now; if not, it must have been before.
    """
    if model is None:
        checkpoint = Checkpoint(EMBEDDED, "shapes")
    elif Path(model).is_dir():
        checkpoint = Checkpoint(Path(model), Path(model).resolve().name)
    else:
        checkpoint = Checkpoint(_from_hub(model, download), model.rsplit("/", 1)[-1])
    _check_classes(checkpoint)
    for file in checkpoint.files:
        if not file.is_file():
            raise CheckpointError(f"{file} is missing. Download the checkpoint again.")
    return checkpoint


def _from_hub(model: str, download: bool) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith((".", "/")):
        raise CheckpointError(
            f"{model} is neither a folder nor a hub id. "
            "Give a diffusers folder, or an id such as CompVis/ldm-text2im-large-256."
        )
    from huggingface_hub import snapshot_download

    patterns = [f"{part}/*" for part in COMPONENTS] + ["model_index.json", "README.md"]
    try:
        return Path(
            snapshot_download(model, allow_patterns=patterns, local_files_only=not download)
        )
    except (OSError, ValueError) as error:
        if not download:
            raise CheckpointError(
                f"{model} is not downloaded yet; without --dry-run, it would be."
            ) from error
        raise CheckpointError(
            f"{model} is no folder here and cannot be had from the hub: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _check_classes(checkpoint: Checkpoint) -> None:
    if not checkpoint.configs["index"].is_file():
        raise CheckpointError(
            f"{checkpoint.path} is no diffusers checkpoint: it has no model_index.json."
        )
    index = checkpoint.config("index")
    if index.get("_class_name") != PIPELINE:
        raise CheckpointError(
            f"{checkpoint.path} is a {index.get('_class_name')}; only {PIPELINE} can be exported."
        )
    for component, supported in COMPONENTS.items():
        entry = index.get(component)
        name = entry[-1] if isinstance(entry, list) and entry else entry
        if name not in supported:
            raise CheckpointError(
                f"{checkpoint.path}: {component} is a {name}; "
                f"only {' or '.join(supported)} can be exported."
            )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON ({error}). Download it again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object. Download it again.")
    return content
