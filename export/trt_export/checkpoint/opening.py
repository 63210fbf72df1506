"""Opening a checkpoint: a folder, a file, a hub id, or the one that ships with this package."""

import re
from pathlib import Path

from trt_export.checkpoint.compvis import open_file
from trt_export.checkpoint.folder import ADVICE, PIPELINES, TEXT_TO_IMAGE, Checkpoint, check_files
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
    Raises CheckpointError if it is none that can be exported, InvalidInputError for a config or a
    vocab where there is no file.
    """
    if model is not None and Path(model).is_file():
        return open_file(Path(model), config, vocab)
    if config or vocab:
        raise InvalidInputError(
            f"--config and --vocab are for a checkpoint file, and {model} is none."
        )
    if model is None:
        checkpoint = Checkpoint(EMBEDDED, "shapes")
    elif Path(model).is_dir():
        checkpoint = Checkpoint(Path(model), Path(model).resolve().name)
    else:
        checkpoint = Checkpoint(_from_hub(model, download), model.rsplit("/", 1)[-1])
    _check_classes(checkpoint)
    check_files(checkpoint)
    return checkpoint


def _from_hub(model: str, download: bool) -> Path:
    looks_like_id = re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not model.startswith((".", "/"))
    if not looks_like_id or model.endswith((".ckpt", ".safetensors")):
        raise CheckpointError(
            f"{model} is neither a folder nor a hub id, and no file is there. "
            "Give a diffusers folder, a .ckpt file, or an id such as CompVis/ldm-text2im-large-256."
        )
    from huggingface_hub import snapshot_download

    patterns = [f"{part}/*" for part in PIPELINES[TEXT_TO_IMAGE]]
    patterns += ["model_index.json", "README.md"]
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
    if not checkpoint.index.is_file():
        raise CheckpointError(
            f"{checkpoint.path} is no diffusers checkpoint: it has no model_index.json."
        )
    if checkpoint.pipeline not in PIPELINES:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.pipeline}; "
            f"only {', '.join(PIPELINES)} can be exported."
        )
    for component, supported in PIPELINES[checkpoint.pipeline].items():
        name = checkpoint.class_of(component)
        if name not in supported:
            raise CheckpointError(
                f"{checkpoint.path}: {component} is a {name}; "
                f"only {' or '.join(supported)} can be exported.{ADVICE.get(name, '')}"
            )
