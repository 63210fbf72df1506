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
QUOTED = 80
"""Characters of cut-off text that a warning quotes."""


class PromptTruncatedWarning(UserWarning):
    """A prompt has more tokens than the model reads; its end was cut off."""


class Tokenizer:
    """Tokenizes prompts as the text encoder was trained; safe to share between threads."""

    def __init__(self, folder: Path, spec: TokenizerSpec) -> None:
        """folder: the bundle's. BundleError for a vocabulary without BERT's special tokens."""
        from tokenizers import AddedToken, models, normalizers, pre_tokenizers
        from tokenizers import Tokenizer as Engine

        ids = read_vocabulary(folder / spec.files["vocab"])
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
    """Token → id; BundleError for a file without BERT's special tokens."""
    try:
        if path.stat().st_size > MAX_VOCABULARY_BYTES:
            raise BundleError(
                f"{path} is larger than {MAX_VOCABULARY_BYTES} bytes, too large for a vocabulary."
            )
        with path.open(encoding="utf-8") as lines:
            ids = {line.rstrip("\n"): number for number, line in enumerate(lines)}
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read as a vocabulary: {error}.") from None
    missing = [token for token in SPECIAL if token not in ids]
    if missing:
        raise BundleError(
            f"{path} lacks {', '.join(missing)}, which a BERT tokenizer needs. Export again."
        )
    return ids
