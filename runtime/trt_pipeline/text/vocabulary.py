"""The files of a bundle's tokenizer: a vocabulary and, for byte pairs, merges."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from trt_pipeline.errors import BundleError

MAX_FILE_BYTES = 16 * 2**20
"""BERT's largest vocabulary, of 120,000 tokens, takes 1 MB."""


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token → id; BundleError for a file that holds no vocabulary, or a token twice."""
    tokens = _lines(path, "a vocabulary")
    _check_doubles(path, "token", tokens)
    return {token: number for number, token in enumerate(tokens)}


def read_merges(path: Path, vocabulary: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of tokens, the first to be merged first; BundleError for a file that holds no merges,
    or for a merge twice, or of tokens that the vocabulary lacks."""
    lines = _lines(path, "merges")
    _check_doubles(path, "merge", lines)
    return [_merge(path, line, vocabulary) for line in lines]


def _merge(path: Path, line: str, vocabulary: Mapping[str, int]) -> tuple[str, str]:
    first, _, second = line.partition(" ")
    if not first or not second or " " in second:
        raise BundleError(
            f"{path}: the merge {line!r:.80} is not two tokens with a blank between them. "
            "Export again."
        )
    for token in (first, second, first + second):
        if token not in vocabulary:
            raise BundleError(
                f"{path}: the merge {line!r:.80} needs the token {token!r:.80}, which the "
                "vocabulary lacks. Export again."
            )
    return first, second


def _lines(path: Path, content: str) -> list[str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BundleError(
                f"{path} is larger than {MAX_FILE_BYTES} bytes, too large for {content}."
            )
        with path.open(encoding="utf-8") as lines:
            return [line.rstrip("\n") for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read as {content}: {error}.") from None


def _check_doubles(path: Path, what: str, lines: Sequence[str]) -> None:
    if len(set(lines)) < len(lines):
        twice = Counter(lines).most_common(1)[0][0]
        raise BundleError(f"{path} has the {what} {twice!r:.80} twice. Export again.")


def check_id(path: Path, name: str, value: int, size: int) -> None:
    """BundleError for an id that a vocabulary of this size lacks."""
    if value >= size:
        raise BundleError(f"{path}: {name} is {value}, expected 0 to {size - 1}. Export again.")
