"""How a checkpoint's tokenizer makes tokens of a prompt."""

from trt_export.checkpoint.folder import Checkpoint
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import TokenizerSpec
from trt_pipeline.errors import BundleError, CheckpointError
from trt_pipeline.text.tokenizer import read_vocabulary

FOLDER = "tokenizer"
"""Where a bundle has its tokenizer's files."""


def describe_tokenizer(
    checkpoint: Checkpoint, max_length: int, vocab_size: int
) -> TokenizerSpec | None:
    """How to tokenize; None for a model without prompts.

    max_length: tokens that the text encoder takes. vocab_size: how many tokens it knows.
    CheckpointError if the vocabulary has more.
    """
    if not checkpoint.vocabulary:
        return None
    config, path = checkpoint.config("tokenizer"), checkpoint.configs["tokenizer"]
    entries = {
        "kind": "wordpiece",
        "files": {name: f"{FOLDER}/{name}.txt" for name in checkpoint.vocabulary},
        "max_length": max_length,
        "lowercase": config.get("do_lower_case", True),
        "strip_accents": config.get("strip_accents"),
        "tokenize_chinese_chars": config.get("tokenize_chinese_chars", True),
    }
    _check_vocabulary(checkpoint, vocab_size)
    try:
        return decode(TokenizerSpec, entries, "it")
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


def _check_vocabulary(checkpoint: Checkpoint, vocab_size: int) -> None:
    path = checkpoint.vocabulary["vocab"]
    try:
        tokens = len(read_vocabulary(path))
    except BundleError as error:
        raise CheckpointError(str(error)) from None
    if tokens > vocab_size:
        raise CheckpointError(
            f"{path} has {tokens} tokens, but the text encoder knows {vocab_size}."
        )
