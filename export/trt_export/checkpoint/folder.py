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
from trt_pipeline.errors import CheckpointError

TEXT_TO_IMAGE = "LDMTextToImagePipeline"
SCHEDULERS = (
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
PIPELINES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    TEXT_TO_IMAGE: {
        "bert": ("LDMBertModel",),
        "unet": ("UNet2DConditionModel",),
        "vqvae": ("AutoencoderKL",),
        "scheduler": SCHEDULERS,
        "tokenizer": ("BertTokenizer", "BertTokenizerFast"),
    },
    "LDMPipeline": {
        "unet": ("UNet2DModel",),
        "vqvae": ("VQModel",),
        "scheduler": SCHEDULERS,
    },
    "LDMSuperResolutionPipeline": {
        "unet": ("UNet2DModel",),
        "vqvae": ("VQModel", "AutoencoderKL"),
        "scheduler": SCHEDULERS,
    },
}
"""Pipelines that can be exported, their parts, and the classes that each may have."""
ADVICE = {
    "DDPMScheduler": " Its steps are those of DDIMScheduler with eta 1: name that one in "
    "model_index.json, and generate with --eta 1."
}
"""What to do about a class that cannot be exported."""
WEIGHTS = {
    "bert": ("model.safetensors", "pytorch_model.bin"),
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "vqvae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
}
"""Weight files by preference: safetensors holds no code, so it comes first."""


MAX_TEXT_BYTES = 16 * 2**20
"""Largest vocabulary that is read."""
MAX_CARD_HEADER = 2**16
"""Characters."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder in diffusers' layout; files are opened when asked for."""

    path: Path
    name: str

    @cached_property
    def pipeline(self) -> str:
        """Class name of diffusers' pipeline."""
        return str(self.config("index").get("_class_name"))

    def class_of(self, component: str) -> str:
        """Class name of a component."""
        entry = self.config("index").get(component)
        return str(entry[-1] if isinstance(entry, list) and entry else entry)

    @cached_property
    def weights(self) -> Mapping[str, Path]:
        """Component → its weight file."""
        parts = PIPELINES[self.pipeline]
        return {part: self._first(part, WEIGHTS[part]) for part in WEIGHTS if part in parts}

    @cached_property
    def vocab(self) -> Path | None:
        """The tokenizer's vocabulary; None without prompts."""
        if "tokenizer" not in PIPELINES[self.pipeline]:
            return None
        return self._first("tokenizer", ("vocab.txt",))

    @cached_property
    def configs(self) -> Mapping[str, Path]:
        """Component → its configuration file."""
        parts = PIPELINES.get(self.pipeline, ()) if self.index.is_file() else ()
        names = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
        return {part: self.path / part / names.get(part, "config.json") for part in parts}

    @property
    def index(self) -> Path:
        """What names the pipeline's class and its components'."""
        return self.path / "model_index.json"

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Every file that an export reads, under the name that provenance has for it."""
        found = [self.index, *self.configs.values(), *self.weights.values()]
        found += [self.vocab] if self.vocab else []
        return {path.relative_to(self.path).as_posix(): path for path in found}

    @property
    def scheduler(self) -> str:
        """Class name of the scheduler."""
        return self.class_of("scheduler")

    def config(self, component: str) -> dict[str, Any]:
        """A component's configuration; CheckpointError if it is no JSON object."""
        return read_object(self.index if component == "index" else self.configs[component])

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

    def _first(self, component: str, names: tuple[str, ...]) -> Path:
        folder = self.path / component
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise CheckpointError(f"{folder}: none of {', '.join(names)} is there. Download it again.")


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
