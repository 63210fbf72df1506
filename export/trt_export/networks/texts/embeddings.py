"""New rows in the embedding of a text encoder, for the tokens of textual inversions."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trt_export.checkpoint.adapters.textual_inversions import TOKENIZER_OF
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.tokenizers.description import new_ids
from trt_export.families import Role
from trt_export.networks.texts.clip import text_transformer
from trt_export.networks.weights.numbers import as_float32
from trt_pipeline.errors import CheckpointError


@torch.no_grad()
def add_tokens(checkpoint: Checkpoint, role: Role, module: Any) -> None:
    """Give a text encoder a row for each new token, where its tokenizer counts it.

    The module may be empty. CheckpointError for vectors of another width.
    """
    if not checkpoint.embeddings or role not in TOKENIZER_OF:
        return
    embeddings = getattr(text_transformer(module), "embeddings", None)
    if embeddings is None:
        raise CheckpointError(
            f"{checkpoint.configs[role]}: --embedding is for CLIP's text encoders, and this is a "
            f"{checkpoint.class_of(role)}."
        )
    ids = new_ids(checkpoint, TOKENIZER_OF[role])
    table: Tensor = embeddings.token_embedding.weight
    rows, width = max(len(table), *(number + 1 for number in ids.values())), table.shape[1]
    grown = table.new_zeros(rows, width)
    grown[: len(table)] = table
    for file, inversion in zip(checkpoint.embeddings, checkpoint.inversions, strict=True):
        vectors = _checked(inversion.vectors[role], width, file.path)
        for token, vector in zip(inversion.tokens, vectors, strict=True):
            grown[ids[token]] = vector.to(grown.device)
    embeddings.token_embedding = nn.Embedding(rows, width, _weight=grown)
    module.config.vocab_size = rows


def _checked(vectors: Tensor, width: int, path: Path) -> Tensor:
    if vectors.shape[1] != width:
        raise CheckpointError(
            f"{path} has vectors of width {vectors.shape[1]}, but the text encoder's have {width}. "
            "It is for another kind of Stable Diffusion."
        )
    return as_float32(vectors, "the embedding", path)
