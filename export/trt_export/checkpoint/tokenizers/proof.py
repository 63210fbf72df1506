"""Proof that a bundle's tokenizer gives the ids of transformers', on texts made to differ."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trt_pipeline.bundle.tokenizer_specs import TokenizerSpec
from trt_pipeline.errors import CheckpointError
from trt_pipeline.text.tokenizer import PromptTruncatedWarning, Tokenizer
from trt_pipeline.text.vocabulary import read_vocabulary

ODD_TEXTS = (
    "",
    " ",
    "a painting of a squirrel eating a burger",
    "  A  RED\tCircle\n",
    "don't stop-now, (please)! ½ € «q» ™",
    "Ünïcödé NAÏVE Ça İstanbul ß ﬁ cafe\u0301 ΑΣ tiếng",
    "日本語 漢字かな a北b京c 豈 한국어 عربى मनीष",
    "zero\u200bwidth nul\x00 bell\x07 repl\ufffdaced nbsp\u00a0em\u2003line\u2028end\x85",
    "😀👩‍👩‍👧 \U0010ffff \u202e",
    "x" * 100 + " " + "y" * 101,
    "one two three four " * 40,
)


def check_ids(bundle: Path, spec: TokenizerSpec, theirs: Any) -> None:
    """CheckpointError for the first text whose ids differ.

    bundle: a folder with the tokenizer's files. theirs: transformers' tokenizer, called as the
    pipelines of diffusers do.
    """
    words = filter(str.isalpha, read_vocabulary(bundle / spec.files["vocab"]))
    texts = [*ODD_TEXTS, *_texts_of(next(words, "a"), [*theirs.get_added_vocab()], spec.max_length)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptTruncatedWarning)
        ours = Tokenizer(bundle, spec).encode(texts)
    settings = {"padding": "max_length", "max_length": spec.max_length, "truncation": True}
    expected = np.asarray(theirs(_converted(texts, spec, theirs), **settings).input_ids)
    for text, found, wanted in zip(texts, ours, expected, strict=True):
        if not np.array_equal(found, wanted):
            at = int(np.flatnonzero(found != wanted)[0])
            raise CheckpointError(
                f"the exported tokenizer differs from transformers': token {at} of {text!r:.80} is "
                f"{found[at]}, expected {wanted[at]}. Please report it."
            )


def _converted(texts: list[str], spec: TokenizerSpec, theirs: Any) -> list[str]:
    """The texts as diffusers' Stable Diffusion hands them to its tokenizer."""
    if spec.kind != "byte_pair":
        return texts
    from diffusers.loaders import TextualInversionLoaderMixin

    return TextualInversionLoaderMixin().maybe_convert_prompt(texts, theirs)


def _texts_of(word: str, added: Sequence[str], max_length: int) -> Iterator[str]:
    """Texts around each added token: alone, twice, in words, in other case, cut off."""
    for token in added:
        yield f"{word} {token} {word}"
        yield f"{word}{token}{word} _{token}1"
        yield f"{token}{token}  {token}\t{token}, ({token})\u0301"
        yield f"{token.upper()} {token.lower()} {token.swapcase()} {token[:-1]} {token[1:]}"
        yield f"é{token}北{token}\u00a0\n{token} "
        yield f"{token} {word} " * max_length
    yield " ".join(added)
    yield "".join(added)
