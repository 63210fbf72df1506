"""Files of LoRAs and textual inversions, as --lora and --embedding name them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trt_export.checkpoint.files.weights import WeightFiles, check_weights
from trt_pipeline.errors import CheckpointError, InvalidInputError

LORA_NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""Files that diffusers and PEFT write into a folder."""
EMBEDDING_NAMES = ("learned_embeds.safetensors", "learned_embeds.bin")
"""Files that diffusers' trainer writes into a folder."""
PEFT_CONFIG = "adapter_config.json"
"""Beside a file of PEFT, whose scale it holds."""
ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""Of files of tensors; all but the first are pickles."""
MAX_SCALE = 100.0
"""Either way: larger numbers are mistakes, and the weights would not survive them."""


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A LoRA to be fused into the weights."""

    path: Path
    scale: float = 1.0

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read."""
        config = self.path.with_name(PEFT_CONFIG)
        return (self.path, config) if config.is_file() else (self.path,)


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """A textual inversion, whose vectors become tokens of the text encoder."""

    path: Path
    token: str | None = None
    """What stands for it in a prompt; None takes what its file says."""


def lora_file(value: str) -> LoraFile:
    """FILE or FILE:SCALE; InvalidInputError for a file that is not there, or no such scale."""
    named, _, last = value.rpartition(":")
    if not Path(value).exists() and named and (scale := _number(last)) is not None:
        if not -MAX_SCALE <= scale <= MAX_SCALE:
            raise InvalidInputError(
                f"--lora {value}: the scale is {last}, expected -{MAX_SCALE:g} to {MAX_SCALE:g}."
            )
        return LoraFile(_found("--lora", named, LORA_NAMES), scale)
    return LoraFile(_found("--lora", value, LORA_NAMES))


def embedding_file(value: str) -> EmbeddingFile:
    """FILE or FILE:TOKEN; InvalidInputError for a file that is not there, or no token."""
    file, token = next(((f, t) for f, t in _splits(value) if Path(f).exists()), (value, None))
    if token == "":
        raise InvalidInputError(f"--embedding {value}: no token follows the colon.")
    return EmbeddingFile(_found("--embedding", file, EMBEDDING_NAMES), token)


def adapter_files(
    loras: Sequence[LoraFile], embeddings: Sequence[EmbeddingFile]
) -> Mapping[str, Path]:
    """Every file that is read, under the name that provenance has for it."""
    named = {
        f"loras/{number}/{path.name}": path
        for number, lora in enumerate(loras)
        for path in lora.files
    }
    named |= {
        f"embeddings/{number}/{one.path.name}": one.path for number, one in enumerate(embeddings)
    }
    return named


def check_adapters(loras: Sequence[LoraFile], embeddings: Sequence[EmbeddingFile]) -> None:
    """CheckpointError for files that are, at a glance, not files of tensors."""
    for path in [*(one.path for one in loras), *(one.path for one in embeddings)]:
        if path.suffix not in ENDINGS:
            raise CheckpointError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}.")
        check_weights(WeightFiles((path,)))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if not math.isnan(number) else None


def _splits(value: str) -> Iterator[tuple[str, str | None]]:
    """A file and a token at each colon, from the right: either may hold colons."""
    yield value, None
    at = value.rfind(":")
    while at > 0:
        yield value[:at], value[at + 1 :]
        at = value.rfind(":", 0, at)


def _found(option: str, name: str, in_folder: Sequence[str]) -> Path:
    path = Path(name)
    if path.is_dir():
        path = next((path / one for one in in_folder if (path / one).is_file()), path)
    if path.is_file():
        return path
    expected = (
        f"{path} is a folder without {' or '.join(in_folder)}"
        if path.is_dir()
        else (f"{path} is not a file")
    )
    raise InvalidInputError(f"{option}: {expected}. Name a file.")
