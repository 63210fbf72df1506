"""Textual inversions (arXiv:2208.01618): vectors that stand for a new token of a text encoder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from trt_export.checkpoint.adapters.files import EmbeddingFile
from trt_export.checkpoint.files.tensors import read_content
from trt_export.families import Role
from trt_pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

TOKENIZER_OF: Mapping[Role, Role] = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
"""Text encoder → its tokenizer."""
UNNAMED = "emb_params"
"""What AUTOMATIC1111's trainer calls the vectors in a safetensors file."""
PAIR: Mapping[str, Role] = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""Names of vectors for Stable Diffusion XL → the text encoder that they are for."""
MAX_VECTORS = 75
"""CLIP reads no more tokens of a prompt."""


@dataclass(frozen=True, slots=True)
class Inversion:
    """What a file adds to the text encoders."""

    token: str
    """What stands for it in a prompt."""
    vectors: "Mapping[Role, Tensor]"
    """Text encoder → [count, width], one for each of the tokens."""

    @property
    def tokens(self) -> list[str]:
        """The token of each vector, as diffusers names those after the first."""
        count = len(next(iter(self.vectors.values())))
        return [self.token, *(f"{self.token}_{number}" for number in range(1, count))]


def read_inversions(files: Sequence[EmbeddingFile], encoders: Sequence[Role]) -> list[Inversion]:
    """What the files hold for a checkpoint's text encoders; CheckpointError for anything else."""
    found = [_read(file, encoders) for file in files]
    tokens = [token for one in found for token in one.tokens]
    for token in tokens:
        if tokens.count(token) > 1:
            raise CheckpointError(
                f"--embedding: two files have the token {token!r:.80}. Give another one after the "
                "file: FILE:TOKEN."
            )
    return found


def notes_of_tokens(inversions: Sequence[Inversion]) -> Iterator[str]:
    """What a user should know of how prompts name them."""
    for one in inversions:
        plain = normalize("NFC", one.token).lower()
        if len(one.tokens) > 1 and one.token != plain:
            yield (
                f"--embedding: of the {len(one.tokens)} vectors of {one.token!r:.80}, a prompt is "
                "read with the first alone, as in diffusers with transformers 5, which looks for "
                f"tokens in lower case. Give another token after the file: FILE:{plain:.80}."
            )


def _read(file: EmbeddingFile, encoders: Sequence[Role]) -> Inversion:
    token, named = _named(file, read_content(file.path))
    vectors = {_role(file, name, encoders): _matrix(file, one) for name, one in named.items()}
    if vectors.keys() != {*encoders}:
        raise CheckpointError(
            f"{file.path} has vectors for {len(vectors)} text encoder(s), but the checkpoint has "
            f"{len(encoders)}. It is for another kind of Stable Diffusion."
        )
    if len({len(one) for one in vectors.values()}) > 1:
        raise CheckpointError(f"{file.path}: clip_l and clip_g have different numbers of vectors.")
    return Inversion(token, vectors)


def _named(file: EmbeddingFile, content: Any) -> tuple[str, dict[str, Any]]:
    """The token, and the vectors by the names that they have in the file."""
    stem = file.token or file.path.stem
    match content:
        case {"string_to_param": {"*": vectors}}:  # AUTOMATIC1111's
            name = content.get("name")
            return file.token or (name if isinstance(name, str) and name else stem), {"": vectors}
        case {"clip_l": first, "clip_g": second} if len(content) == 2:
            return stem, {"clip_l": first, "clip_g": second}
        case dict() if len(content) == 1:
            (name, vectors), *_ = content.items()
            own = stem if name == UNNAMED else str(name)
            return file.token or own, {"": vectors}
        case dict():
            raise CheckpointError(
                f"{file.path} is not a textual inversion: expected one tensor, clip_l and clip_g, "
                f"or string_to_param, but it has {', '.join(map(str, content)):.120}."
            )
    if file.token is None:
        raise CheckpointError(
            f"{file.path} does not say its token. Give it after the file: FILE:TOKEN."
        )
    return file.token, {"": content}


def _role(file: EmbeddingFile, name: str, encoders: Sequence[Role]) -> Role:
    role = PAIR.get(name, "text_encoder")
    if role not in encoders:
        raise CheckpointError(
            f"{file.path} is for Stable Diffusion XL: its {name} has no text encoder here."
        )
    return role


def _matrix(file: EmbeddingFile, vectors: Any) -> "Tensor":
    from torch import Tensor

    if not isinstance(vectors, Tensor) or vectors.ndim not in (1, 2) or not vectors.numel():
        raise CheckpointError(f"{file.path} is not a textual inversion: it holds no vectors.")
    matrix = vectors.detach().reshape(-1, vectors.shape[-1])
    if len(matrix) > MAX_VECTORS:
        raise CheckpointError(
            f"{file.path} has {len(matrix)} vectors, expected at most {MAX_VECTORS}."
        )
    return matrix
