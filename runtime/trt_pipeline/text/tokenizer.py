"""Prompts to token ids, equal to those of transformers' BertTokenizerFast and CLIPTokenizerFast."""

import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.tokenizer_specs import TokenizerSpec
from trt_pipeline.errors import BundleError
from trt_pipeline.text.engines import byte_pair, wordpiece
from trt_pipeline.text.vocabulary import check_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine

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
        self._engine = _engine(folder, spec)
        _add_tokens(self._engine, path, spec)
        self._check_ids(path)
        self._several = [token for token in spec.added_tokens if token.vectors > 1]

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
        prompt = self._spelled_out(prompt)
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

    def _spelled_out(self, prompt: str) -> str:
        """The text with all tokens of those that have several, as diffusers replaces them."""
        if self._several:
            found = {*self._engine.encode(prompt).tokens}  # as they stand in the normalized text
            for token in self._several:
                if token.content in found:
                    prompt = prompt.replace(token.content, " ".join(token.parts))
        return prompt

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
            check_id(path, name, getattr(self._spec, name), size)


def _engine(folder: Path, spec: TokenizerSpec) -> "Engine":
    return wordpiece(folder, spec) if spec.kind == "wordpiece" else byte_pair(folder, spec)


def _add_tokens(engine: "Engine", path: Path, spec: TokenizerSpec) -> None:
    from tokenizers import AddedToken

    _check_added_tokens(path, spec, engine.normalizer.normalize_str)
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
