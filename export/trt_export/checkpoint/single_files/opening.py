"""Opening a single file: which layout it has, by the names of its weights."""

from pathlib import Path

from trt_export.checkpoint.files.tensors import read_shapes
from trt_export.checkpoint.files.weights import WeightFiles, check_weights
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.single_files.compvis import open_compvis
from trt_export.checkpoint.single_files.generations import is_bert
from trt_export.checkpoint.single_files.stable_diffusion import open_stable_diffusion
from trt_pipeline.errors import InvalidInputError


def open_file(path: Path, config: Path | None, vocab: Path | None) -> Checkpoint:
    """A file with the weights of all networks; CheckpointError if it cannot be exported.

    config: a YAML, or a folder in diffusers' layout for Stable Diffusion. vocab: of CompVis' first
    text-to-image model, a vocab.txt or a tokenizer.json.
    """
    check_weights(WeightFiles((path,)))
    shapes = read_shapes(path)
    if is_bert(shapes):
        if config and config.is_dir():
            raise InvalidInputError(f"--config {config}: {path} needs a YAML, not a folder.")
        return open_compvis(path, config, vocab)
    if vocab:
        raise InvalidInputError(
            f"--vocab {vocab}: {path} is not CompVis' text-to-image model. Put the tokenizer into "
            "a folder in diffusers' layout, and give that with --config."
        )
    return open_stable_diffusion(path, config, shapes)
