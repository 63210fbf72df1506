"""Opening a checkpoint: a folder, a file, a hub id, or the one that ships with this package."""

import re
from pathlib import Path

from trt_export.checkpoint.compvis import open_file
from trt_export.checkpoint.folder import INDEX, Checkpoint, check_files
from trt_export.checkpoint.text_files import read_object
from trt_export.families import Family, families
from trt_pipeline.errors import CheckpointError, InvalidInputError

EMBEDDED = Path(__file__).parents[1] / "shapes" / "checkpoint"


def open_checkpoint(
    model: str | None,
    *,
    config: Path | None = None,
    vocab: Path | None = None,
    download: bool = True,
) -> Checkpoint:
    """Find a checkpoint: a folder, a file in CompVis' own layout, a hub id such as
    CompVis/ldm-text2im-large-256, or None for the one that ships with this package.

    config, vocab: of a file; None looks beside it, then takes those of the published model.
    download: whether a hub id may be downloaded now; if not, it must have been before.
    Raises CheckpointError if it cannot be exported, InvalidInputError for a config or a vocab
    beside anything but a file.
    """
    if model is not None and Path(model).is_file():
        return open_file(Path(model), config, vocab)
    if config or vocab:
        raise InvalidInputError(
            f"--config and --vocab are for a checkpoint file, and {model} is not a file."
        )
    if model is None:
        return open_folder(EMBEDDED, "shapes")
    if Path(model).is_dir():
        return open_folder(Path(model), Path(model).resolve().name)
    return open_folder(_from_hub(model, download), model.rsplit("/", 1)[-1])


def open_folder(path: Path, name: str) -> Checkpoint:
    """A folder in diffusers' layout; CheckpointError if it cannot be exported."""
    if not (path / INDEX).is_file():
        raise CheckpointError(f"{path} is not a diffusers checkpoint: it has no {INDEX}.")
    checkpoint = Checkpoint(path, name, _family_of(path))
    _check_classes(checkpoint)
    check_files(checkpoint)
    return checkpoint


def _family_of(path: Path) -> Family:
    pipeline = str(read_object(path / INDEX).get("_class_name"))
    known = {family.pipeline: family for family in families().values() if family.pipeline}
    if pipeline not in known:
        raise CheckpointError(
            f"{path} is a {pipeline}; only {', '.join(map(str, known))} can be exported."
        )
    return known[pipeline]


def _check_classes(checkpoint: Checkpoint) -> None:
    for role, part in checkpoint.family.parts.items():
        name = checkpoint.class_of(role)
        if part.classes and name not in part.classes:
            raise CheckpointError(
                f"{checkpoint.path}: {part.folder} is a {name}; "
                f"only {' or '.join(part.classes)} can be exported."
            )


def _from_hub(model: str, download: bool) -> Path:
    looks_like_id = re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not model.startswith((".", "/"))
    if not looks_like_id or model.endswith((".ckpt", ".safetensors")):
        raise CheckpointError(
            f"{model} is neither a folder nor a file here, and not a hub id. "
            "Give a diffusers folder, a .ckpt file, or an id such as CompVis/ldm-text2im-large-256."
        )
    from huggingface_hub import snapshot_download

    folders = {part.folder for family in families().values() for part in family.parts.values()}
    patterns = [INDEX, "README.md", *(f"{folder}/*" for folder in sorted(folders))]
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
            f"{model} is not a folder here and cannot be downloaded from the hub: "
            f"{str(error).splitlines()[0]}"
        ) from error
