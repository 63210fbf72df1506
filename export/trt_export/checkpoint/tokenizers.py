"""How a checkpoint's tokenizer makes tokens of a prompt: transformers reads it, and is asked.

The runtimes have the tokenizer of the tokenizers package that transformers made, or it is refused.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.tokenizer_files import OTHER_VOCABULARIES, VOCABULARIES, checked_files
from trt_export.checkpoint.tokenizer_proof import check_ids
from trt_export.checkpoint.tokenizer_sections import check_sections
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import AddedToken, TokenizerSpec
from trt_pipeline.errors import BundleError, CheckpointError

VOCABULARY = "tokenizer/vocab.txt"
"""Where a bundle has it."""
HOLE = "[no token has id {}]"
"""Stands in a vocabulary for an id without a token; words are split at its blanks."""


@dataclass(frozen=True, slots=True)
class DescribedTokenizer:
    """How to tokenize, and what to write into a bundle for it."""

    spec: TokenizerSpec
    contents: Mapping[str, str]
    """File, relative to the bundle → its text."""

    def write(self, bundle: Path) -> None:
        """Write the tokenizer's files."""
        for name, text in self.contents.items():
            (bundle / name).parent.mkdir(exist_ok=True)
            (bundle / name).write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True, slots=True)
class WordPiece:
    """The model in tokenizer.json, as the runtimes have it."""

    type: Literal["WordPiece"]
    unk_token: str
    continuing_subword_prefix: Literal["##"]
    max_input_chars_per_word: int
    vocab: Any
    """Less complete than the backend's own: of two tokens with one id it has one."""

    def __post_init__(self) -> None:
        """ValueError for another bound than the runtimes have."""
        if self.max_input_chars_per_word != 100:
            raise ValueError(
                f"max_input_chars_per_word is {self.max_input_chars_per_word}, expected 100"
            )


@dataclass(frozen=True, slots=True)
class BertNormalizer:
    """The normalizer in tokenizer.json."""

    type: Literal["BertNormalizer"]
    clean_text: bool
    handle_chinese_chars: bool
    strip_accents: bool | None
    lowercase: bool


@dataclass(frozen=True, slots=True)
class BertPreTokenizer:
    """The pre-tokenizer in tokenizer.json."""

    type: Literal["BertPreTokenizer"]


@dataclass(frozen=True, slots=True)
class BackendToken:
    """An entry of added_tokens in tokenizer.json."""

    id: int
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool
    """Of use where text is made of tokens."""

    def as_added_token(self) -> AddedToken:
        """The same in a manifest."""
        return AddedToken(
            self.content, self.id, self.single_word, self.lstrip, self.rstrip, self.normalized
        )


@dataclass(frozen=True, slots=True)
class Backend:
    """tokenizer.json as transformers' backend would write it."""

    version: Literal["1.0"]
    truncation: Any
    """This and padding, every call sets anew."""
    padding: Any
    added_tokens: tuple[BackendToken, ...]
    normalizer: BertNormalizer
    pre_tokenizer: BertPreTokenizer
    post_processor: Any
    """Asked what it adds to the empty text."""
    decoder: Any
    """Makes text of tokens."""
    model: WordPiece


def describe_tokenizer(
    checkpoint: Checkpoint, max_length: int, vocab_size: int
) -> DescribedTokenizer | None:
    """How to tokenize; None for a model without prompts.

    max_length: tokens that the text encoder takes. vocab_size: how many tokens it knows.
    CheckpointError if the tokenizer has more, or does what the runtimes don't.
    """
    part = checkpoint.family.parts.get("tokenizer")
    if not part:
        return None
    files, folder = checkpoint.tokenizer_files, checkpoint.path / checkpoint.folder_of("tokenizer")
    if not any(name in files for name in VOCABULARIES):
        raise CheckpointError(f"{folder} has none of {', '.join(VOCABULARIES)}. Download it again.")
    for name in OTHER_VOCABULARIES:
        if (folder / name).exists() and "tokenizer.json" not in files:
            raise CheckpointError(
                f"{folder / name} is another vocabulary than vocab.txt, and transformers may take "
                "either. Take one of them out."
            )
    return read_tokenizer(files, max_length, vocab_size)


def read_tokenizer(
    files: Mapping[str, Path], max_length: int, vocab_size: int
) -> DescribedTokenizer:
    """The tokenizer that transformers reads from these files, by its names of them."""
    source = next(files[name] for name in VOCABULARIES if name in files)
    with TemporaryDirectory() as place:
        folder = Path(place)
        texts = checked_files(files)
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
        with blaming(source, folder):
            theirs = _load(folder)
            described = _describe(theirs, source, max_length, vocab_size)
            _check_sections(texts, theirs, source)
        described.write(folder)
        with blaming(source, folder):
            _prove(folder, described.spec, theirs, source)
    return described


def _load(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(folder, local_files_only=True)


def _check_sections(texts: Mapping[str, str], theirs: Any, source: Path) -> None:
    if "tokenizer.json" not in texts:
        return
    own, config = (
        json.loads(texts.get(name, "{}")) for name in ("tokenizer.json", "tokenizer_config.json")
    )
    try:
        check_sections(own, config, theirs.backend_tokenizer)
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be exported: {error}.") from None


def _prove(folder: Path, spec: TokenizerSpec, theirs: Any, source: Path) -> None:
    try:
        check_ids(folder, spec, theirs)
    except BundleError as error:
        text = str(error).replace(str(folder / VOCABULARY), str(source))
        raise CheckpointError(text.removesuffix(" Export again.")) from None


@contextmanager
def blaming(source: Path, folder: Path) -> Iterator[None]:
    """CheckpointError for whatever transformers and the tokenizers package raise.

    folder: where they read a copy of the source.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise _unusable(source, folder, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust; Python cannot import its class
            raise
        raise _unusable(source, folder, error) from error


def _unusable(source: Path, folder: Path, error: BaseException) -> CheckpointError:
    reason = " ".join(str(error).replace(str(folder), str(source.parent)).split()).rstrip(".")
    return CheckpointError(
        f"{source.parent}: transformers cannot use this tokenizer: "
        f"{reason or type(error).__name__}."
    )


def _describe(theirs: Any, source: Path, max_length: int, vocab_size: int) -> DescribedTokenizer:
    backend = theirs.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    try:
        # Before to_str, which counts to the largest id.
        _check_rows(backend.get_vocab(with_added_tokens=True), vocab_size)
        vocabulary = backend.get_vocab(with_added_tokens=False)
        parts = decode(Backend, json.loads(backend.to_str()), "the tokenizer")
        start, end = _frame(backend.encode("").ids)
        spec = TokenizerSpec(
            kind="wordpiece",
            files={"vocab": VOCABULARY},
            max_length=max_length,
            padding_side=theirs.padding_side,
            truncation_side=theirs.truncation_side,
            start_id=start,
            end_id=end,
            pad_id=_pad_id(theirs),
            unk_id=_unk_id(vocabulary, parts.model.unk_token),
            clean_text=parts.normalizer.clean_text,
            lowercase=parts.normalizer.lowercase,
            strip_accents=parts.normalizer.strip_accents,
            tokenize_chinese_chars=parts.normalizer.handle_chinese_chars,
            added_tokens=tuple(one.as_added_token() for one in parts.added_tokens),
        )
        return DescribedTokenizer(spec, {VOCABULARY: _vocabulary(vocabulary)})
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be exported: {error}.") from None


def _frame(ids: list[int]) -> list[int]:
    if len(ids) != 2:
        raise ValueError(f"it adds {len(ids)} tokens to a text, expected one before and one after")
    return ids


def _pad_id(theirs: Any) -> int:
    if theirs.pad_token_id is None:
        raise ValueError("it has no pad_token, so no prompt could be padded")
    return int(theirs.pad_token_id)


def _unk_id(vocabulary: Mapping[str, int], token: str) -> int:
    if token not in vocabulary:
        raise ValueError(
            f"its vocabulary lacks the unk_token {token!r:.80}, so an unknown word has no token"
        )
    return vocabulary[token]


def _check_rows(ids: Mapping[str, int], vocab_size: int) -> None:
    last = max(ids, key=ids.__getitem__)
    if ids[last] >= vocab_size:
        raise ValueError(
            f"it has {ids[last] + 1} tokens, the last of which is {last!r:.80}, but the text "
            f"encoder knows {vocab_size} (vocab_size). Give its embedding more rows, or take "
            "tokens out"
        )


def _vocabulary(ids: Mapping[str, int]) -> str:
    """One token a line, and something that no word has where an id has no token."""
    lines = [HOLE.format(number) for number in range(max(ids.values()) + 1)]
    owners: dict[int, str] = {}
    for token, number in ids.items():
        if "\n" in token or "\r" in token:
            raise ValueError(f"the token {token!r:.80} with id {number} has a line break")
        if number in owners:
            raise ValueError(f"{owners[number]!r:.80} and {token!r:.80} both have id {number}")
        owners[number] = lines[number] = token
    return "\n".join(lines) + "\n"
