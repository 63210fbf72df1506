"""What a bundle has on request, besides what its family always has."""

from dataclasses import replace
from pathlib import Path

from trt_export.checkpoint.folder import Checkpoint, check_files
from trt_export.checkpoint.model_index import check_index
from trt_export.checkpoint.text_files import read_object
from trt_export.families import SAFETY_CHECKER, TINY_DECODER
from trt_pipeline.errors import CheckpointError


def with_safety_checker(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with its own safety checker; CheckpointError if it has none."""
    if not checkpoint.path.is_dir() or not checkpoint.index.get("safety_checker", [None])[0]:
        raise CheckpointError(
            f"{checkpoint.path} has no safety_checker that could be exported. Leave "
            "--safety-checker out, or name a folder or hub id that has one."
        )
    parts = {**checkpoint.family.parts, **SAFETY_CHECKER}
    family = replace(checkpoint.family, parts=parts)
    check_index(checkpoint.path, family)
    return _checked(replace(checkpoint, family=family))


def with_tiny_decoder(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with a second decoder from a folder of its own; CheckpointError if there is
    none in it."""
    config = folder / TINY_DECODER.config
    if not config.is_file():
        raise CheckpointError(f"{folder} has no {config.name}. Name the folder of a TAESD.")
    kind = read_object(config).get("_class_name")
    if kind not in TINY_DECODER.classes:
        raise CheckpointError(
            f"{config} is of a {kind!r:.80}; only AutoencoderTiny can be exported."
        )
    parts = {**checkpoint.family.parts, "tiny_decoder": TINY_DECODER}
    family = replace(checkpoint.family, parts=parts)
    return _checked(replace(checkpoint, family=family, tiny_decoder=folder))


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    check_files(checkpoint)
    return checkpoint
