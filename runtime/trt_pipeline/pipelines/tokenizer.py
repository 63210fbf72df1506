"""Prompts to token ids: BERT WordPiece, equal to transformers' BertTokenizer."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.manifest import TokenizerSpec
from trt_pipeline.errors import BundleError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_VOCABULARY_BYTES = 16 * 2**20
"""BERT's largest vocabulary, of 120,000 tokens, takes 1 MB."""
SHOWN = 80
"""Characters of cut-off text that a warning shows."""


class PromptTruncatedWarning(UserWarning):
    """A prompt has more tokens than the model reads; its end was cut off."""


class Tokenizer:
    """Tokenizes prompts as the text encoder was trained; safe to share between threads."""

    def __init__(self, vocab: Path, spec: TokenizerSpec) -> None:
        """vocab: a file with one token a line. BundleError if it can't serve a BERT tokenizer."""
        from tokenizers import AddedToken, models, normalizers, pre_tokenizers
        from tokenizers import Tokenizer as Engine

        ids = read_vocabulary(vocab)
        self.max_length = spec.max_length
        self._pad, self._start, self._end = (ids[token] for token in ("[PAD]", "[CLS]", "[SEP]"))
        self._engine = Engine(models.WordPiece(ids, unk_token="[UNK]"))
        self._engine.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=spec.tokenize_chinese_chars,
            strip_accents=spec.strip_accents,
            lowercase=spec.lowercase,
        )
        self._engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._engine.add_special_tokens([AddedToken(t, normalized=False) for t in SPECIAL])

    def encode(self, prompts: Sequence[str]) -> NDArray[np.int32]:
        """input_ids [B, max_length]: [CLS], the text, [SEP], padding.

        Longer prompts lose their end, with a PromptTruncatedWarning that names it.
        """
        input_ids = np.full((len(prompts), self.max_length), self._pad, np.int32)
        for row, prompt in zip(input_ids, prompts, strict=True):
            tokens = self._tokens(prompt)
            row[: len(tokens)] = tokens
        return input_ids

    def _tokens(self, prompt: str) -> list[int]:
        encoding = self._engine.encode(prompt)
        room = self.max_length - 2
        if len(encoding.ids) > room:
            _warn_cut(prompt[encoding.offsets[room][0] :], self.max_length)
        return [self._start, *encoding.ids[:room], self._end]


def _warn_cut(rest: str, max_length: int) -> None:
    shown = rest if len(rest) <= SHOWN else f"{rest[:SHOWN]}…"
    warnings.warn(
        f"the model reads {max_length} tokens of a prompt; cut off: {shown!r}",
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
    """Token → id; BundleError for a file that can't serve a BERT tokenizer."""
    try:
        if path.stat().st_size > MAX_VOCABULARY_BYTES:
            raise BundleError(f"{path} is larger than {MAX_VOCABULARY_BYTES} bytes: no vocabulary.")
        with path.open(encoding="utf-8") as lines:
            ids = {line.rstrip("\n"): number for number, line in enumerate(lines)}
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no vocabulary: {error}.") from None
    missing = [token for token in SPECIAL if token not in ids]
    if missing:
        raise BundleError(f"{path} lacks {', '.join(missing)}: no vocabulary of a BERT tokenizer.")
    return ids
