"""Prompts to token ids: BERT WordPiece, equal to transformers' BertTokenizerFast."""

import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.manifest import TokenizerSpec
from trt_pipeline.errors import BundleError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine

MAX_VOCABULARY_BYTES = 16 * 2**20
"""BERT's largest vocabulary, of 120,000 tokens, takes 1 MB."""
WHITE_SPACE = re.compile(r"[^\S\x1c-\x1f]*")
"""As Unicode has it; Python's has four characters more."""
QUOTED = 80
"""Characters of cut-off text that a warning quotes."""


class PromptTruncatedWarning(UserWarning):
    """A prompt has more tokens than the model reads; a part of it was cut off."""


class Tokenizer:
    """Tokenizes prompts as the text encoder was trained; safe to share between threads."""

    def __init__(self, folder: Path, spec: TokenizerSpec) -> None:
        """folder: the bundle's. BundleError for a vocabulary that does not fit the spec."""
        self._spec = spec
        path = folder / spec.files["vocab"]
        self._engine = _engine(path, read_vocabulary(path), spec)
        self._check_ids(path)

    def encode(self, prompts: Sequence[str]) -> NDArray[np.int32]:
        """input_ids [B, max_length]: the start, the text, the end, and padding on its side.

        Longer prompts lose tokens at truncation_side, with a PromptTruncatedWarning that names
        them.
        """
        spec = self._spec
        input_ids = np.full((len(prompts), spec.max_length), spec.pad_id, np.int32)
        for row, prompt in zip(input_ids, prompts, strict=True):
            tokens = [spec.start_id, *self._text_ids(prompt), spec.end_id]
            first = spec.max_length - len(tokens) if spec.padding_side == "left" else 0
            row[first : first + len(tokens)] = tokens
        return input_ids

    def _text_ids(self, prompt: str) -> list[int]:
        encoding, room = self._engine.encode(prompt), self._spec.max_length - 2
        excess = len(encoding.ids) - room
        if excess <= 0:
            return encoding.ids
        starts = [start for start, _ in encoding.offsets] + [len(prompt)]
        if self._spec.truncation_side == "left":
            _warn_cut(prompt[: starts[excess]], self._spec.max_length)
            return encoding.ids[excess:]
        _warn_cut(prompt[starts[room] :], self._spec.max_length)
        return encoding.ids[:room]

    def _check_ids(self, path: Path) -> None:
        for token in self._spec.added_tokens:
            counted = self._engine.token_to_id(token.content)
            if counted != token.id:
                raise BundleError(
                    f"{path}: the id of the added token {token.content!r} is {token.id}, expected "
                    f"{counted}, its own in the vocabulary or the next one. Export again."
                )
        size = self._engine.get_vocab_size()
        for name in ("start_id", "end_id", "pad_id"):
            _check_id(path, name, getattr(self._spec, name), size)


def _engine(path: Path, ids: dict[str, int], spec: TokenizerSpec) -> "Engine":
    from tokenizers import AddedToken, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Engine

    _check_id(path, "unk_id", spec.unk_id, len(ids))
    engine = Engine(models.WordPiece(ids, unk_token=[*ids][spec.unk_id]))
    engine.normalizer = normalizers.BertNormalizer(
        clean_text=spec.clean_text,
        handle_chinese_chars=spec.tokenize_chinese_chars,
        strip_accents=spec.strip_accents,
        lowercase=spec.lowercase,
    )
    _check_added_tokens(path, spec, engine.normalizer.normalize_str)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.add_tokens(
        [
            AddedToken(
                token.content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
            )
            for token in spec.added_tokens
        ]
    )
    return engine


def _check_added_tokens(path: Path, spec: TokenizerSpec, normalize: Callable[[str], str]) -> None:
    """BundleError for a form of nothing but white space, on which the tokenizers package panics,
    and for two that are alike, of which its releases find another one."""
    seen: dict[tuple[bool, str], str] = {}
    for token in spec.added_tokens:
        content = token.content
        form = normalize(content) if token.normalized else content
        if WHITE_SPACE.fullmatch(form):
            raise BundleError(f"{path}: the added token {content!r} is nothing but white space.")
        first = seen.setdefault((token.normalized, form), content)
        if first != content:
            raise BundleError(
                f"{path}: the added tokens {first!r} and {content!r} are both {form!r} once "
                "normalized, so no text could mean the second."
            )


def _check_id(path: Path, name: str, value: int, size: int) -> None:
    if value >= size:
        raise BundleError(f"{path}: {name} is {value}, expected 0 to {size - 1}. Export again.")


def _warn_cut(rest: str, max_length: int) -> None:
    quoted = rest if len(rest) <= QUOTED else f"{rest[:QUOTED]}…"
    warnings.warn(
        f"the model reads {max_length} tokens of a prompt; cut off: {quoted!r}",
        PromptTruncatedWarning,
        stacklevel=_levels_to_the_user(),
    )


def _levels_to_the_user() -> int:
    """How far up the stack the first caller outside this package is, from the calling function."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token → id; BundleError for a file that holds no vocabulary, or a token twice."""
    try:
        if path.stat().st_size > MAX_VOCABULARY_BYTES:
            raise BundleError(
                f"{path} is larger than {MAX_VOCABULARY_BYTES} bytes, too large for a vocabulary."
            )
        with path.open(encoding="utf-8") as lines:
            tokens = [line.rstrip("\n") for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read as a vocabulary: {error}.") from None
    ids = {token: number for number, token in enumerate(tokens)}
    if len(ids) < len(tokens):
        twice = Counter(tokens).most_common(1)[0][0]
        raise BundleError(f"{path} has the token {twice!r:.80} twice. Export again.")
    return ids
