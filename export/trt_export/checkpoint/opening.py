"""Opening a checkpoint: a folder, a file, a hub id, or the one that ships with this package."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trt_export.checkpoint.adapters.files import EmbeddingFile, LoraFile, check_adapters
from trt_export.checkpoint.additions import with_safety_checker, with_tiny_decoder
from trt_export.checkpoint.configs.model_index import INDEX, check_index, family_of
from trt_export.checkpoint.files.weight_names import check_taken
from trt_export.checkpoint.folder import Checkpoint, check_files
from trt_export.checkpoint.hub import from_hub, part_from_hub
from trt_export.checkpoint.single_files.opening import open_file
from trt_export.families import SAFETY_CHECKER, Part, Role
from trt_pipeline.errors import CheckpointError, InvalidInputError

EMBEDDED = Path(__file__).parents[1] / "shapes" / "checkpoint"


def open_checkpoint(
    model: str | None,
    *,
    config: Path | None = None,
    vocab: Path | None = None,
    variant: str | None = None,
    download: bool = True,
    loras: Sequence[LoraFile] = (),
    embeddings: Sequence[EmbeddingFile] = (),
    tiny_decoder: str | None = None,
    safety_checker: bool = False,
) -> Checkpoint:
    """Find a checkpoint: a folder, a file, a hub id such as CompVis/ldm-text2im-large-256, or None
    for the one that ships with this package.

    config, vocab: of a file; None looks beside it, then takes those of the published model. config
    may be a folder of configurations in diffusers' layout.
    variant: of the weight files, such as fp16 for model.fp16.safetensors; None takes the plain
    files, or the only variant.
    download: whether a hub id may be downloaded now; if not, it must have been before.
    loras, embeddings: what is added to the checkpoint's weights.
    tiny_decoder: the folder or hub id of a second decoder. safety_checker: whether the checkpoint's
    own is wanted.
    Raises CheckpointError if it cannot be exported, InvalidInputError for a config or a vocab
    beside anything but a file, and for a variant of one.
    """
    added = SAFETY_CHECKER if safety_checker else {}
    checkpoint = _open(model, config, vocab, variant, download, added)
    if safety_checker:
        checkpoint = with_safety_checker(checkpoint)
    if tiny_decoder is not None:
        checkpoint = with_tiny_decoder(checkpoint, _folder_of(tiny_decoder, download))
    if not (loras or embeddings):
        return checkpoint
    check_adapters(loras, embeddings)
    return replace(checkpoint, loras=tuple(loras), embeddings=tuple(embeddings))


def _folder_of(model: str, download: bool) -> Path:
    return Path(model) if Path(model).is_dir() else part_from_hub(model, download)


def _open(
    model: str | None,
    config: Path | None,
    vocab: Path | None,
    variant: str | None,
    download: bool,
    added: Mapping[Role, Part],
) -> Checkpoint:
    if variant is not None and not re.fullmatch(r"[\w-]+", variant):
        raise InvalidInputError(f"--variant {variant!r:.80}: expected a word such as fp16.")
    if model is not None and Path(model).is_file():
        if variant:
            raise InvalidInputError(
                f"--variant {variant} is for a folder or a hub id; {model} is a file, which has "
                "no variants."
            )
        return open_file(Path(model), config, vocab)
    if config or vocab:
        raise InvalidInputError(
            f"--config and --vocab are for a checkpoint file, and {model} is not a file."
        )
    if model is None:
        return open_folder(EMBEDDED, "shapes", variant)
    if Path(model).is_dir():
        return open_folder(Path(model), Path(model).resolve().name, variant)
    name = model.rsplit("/", 1)[-1]
    return open_folder(from_hub(model, variant, download, added), name, variant)


def open_folder(path: Path, name: str, variant: str | None = None) -> Checkpoint:
    """A folder in diffusers' layout; CheckpointError if it cannot be exported."""
    if not (path / INDEX).is_file():
        raise CheckpointError(f"{path} is not a diffusers checkpoint: it has no {INDEX}.")
    family = family_of(path)
    check_index(path, family)
    checkpoint = Checkpoint(path, name, family, variant=variant)
    _check_variant(checkpoint)
    check_files(checkpoint)
    return checkpoint


def _check_variant(checkpoint: Checkpoint) -> None:
    """Warn of parts whose weights are of another variant than the one asked for; CheckpointError
    if no part has that."""
    asked, path = checkpoint.variant, checkpoint.path
    taken = {checkpoint.folder_of(role): part.variant for role, part in checkpoint.weights.items()}
    check_taken(str(path), asked, taken.values())
    wanted = f"weights of the variant {asked}" if asked else "plain weights"
    for variant in {*taken.values()} - {asked}:
        folders = " and ".join(folder for folder, one in taken.items() if one == variant)
        instead = f"the variant {variant}" if variant else "the plain ones"
        warnings.warn(f"{path}: no {wanted} in {folders}; taking {instead}.", stacklevel=4)
