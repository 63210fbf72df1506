"""How a checkpoint's tokenizer makes tokens of a prompt: transformers reads it, and is asked.

The runtimes have the tokenizer of the tokenizers package that transformers made, or it is refused.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.tokenizers.backends import BertSections, ClipSections
from trt_export.checkpoint.tokenizers.files import OTHER_VOCABULARIES, VOCABULARIES, checked_files
from trt_export.checkpoint.tokenizers.proof import check_ids
from trt_export.checkpoint.tokenizers.sections import (
    check_byte_pair_sections,
    check_engine,
    check_wordpiece_sections,
)
from trt_export.families import Role
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.tokenizer_specs import (
    MAX_TOKEN_ID,
    AddedToken,
    BytePairSpec,
    TokenizerKind,
    TokenizerSpec,
    WordPieceSpec,
)
from trt_pipeline.errors import BundleError, CheckpointError

KINDS: Mapping[str, TokenizerKind] = {
    "BertTokenizer": "wordpiece",
    "BertTokenizerFast": "wordpiece",
    "CLIPTokenizer": "byte_pair",
    "CLIPTokenizerFast": "byte_pair",
}
"""Class in model_index.json → kind."""
READERS: Mapping[TokenizerKind, str] = {
    "wordpiece": "BertTokenizerFast",
    "byte_pair": "CLIPTokenizerFast",
}
"""Classes of transformers."""
CLIP_TOKENS = 77
"""How many CLIP reads of a prompt; ids do not depend on it."""
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
            (bundle / name).parent.mkdir(parents=True, exist_ok=True)
            (bundle / name).write_text(text, encoding="utf-8", newline="\n")


def describe_tokenizer(
    checkpoint: Checkpoint, role: Role, max_length: int, vocab_size: int
) -> DescribedTokenizer | None:
    """How to tokenize; None for a model without such a tokenizer.

    role: tokenizer or tokenizer_2. max_length: tokens that the text encoder takes. vocab_size: how
    many tokens it knows. CheckpointError if the tokenizer has more, or does what the runtimes
    don't.
    """
    part = checkpoint.family.parts.get(role)
    if not part:
        return None
    kind = KINDS[part.classes[0]]
    files, folder = checkpoint.tokenizer_files[role], checkpoint.path / checkpoint.folder_of(role)
    names = VOCABULARIES[kind]
    if "tokenizer.json" not in files:
        if not {*names} <= files.keys():
            raise CheckpointError(
                f"{folder} has neither tokenizer.json nor {' and '.join(names)}. Download it again."
            )
        for name in OTHER_VOCABULARIES:
            if (folder / name).exists():
                raise CheckpointError(
                    f"{folder / name} is another vocabulary than {names[0]}, and transformers may "
                    "take either. Take one of them out."
                )
    return read_tokenizer(kind, files, max_length, vocab_size, role, checkpoint.new_tokens)


@lru_cache(maxsize=8)
def new_ids(checkpoint: Checkpoint, role: Role) -> Mapping[str, int]:
    """The ids that the tokens of a checkpoint's embeddings get in a tokenizer."""
    described = describe_tokenizer(checkpoint, role, CLIP_TOKENS, MAX_TOKEN_ID + 1)
    added = described.spec.added_tokens if described else ()
    return {token.content: token.id for token in added if token.content in checkpoint.new_tokens}


def read_tokenizer(
    kind: TokenizerKind,
    files: Mapping[str, Path],
    max_length: int,
    vocab_size: int,
    place: str = "tokenizer",
    added: Sequence[str] = (),
) -> DescribedTokenizer:
    """The tokenizer that transformers reads from these files, by its names of them.

    place: folder of the bundle for its files. added: tokens that join its own.
    """
    source = next(files[name] for name in ("tokenizer.json", *VOCABULARIES[kind]) if name in files)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = checked_files(kind, files)
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode())
        with blaming(source, folder):
            theirs = _load(kind, folder)
            described = _describe(kind, theirs, source, max_length, vocab_size, place)
            _check_sections(kind, texts, theirs, source)
            if added:
                _add_tokens(theirs, added, source)
                described = _describe(kind, theirs, source, max_length, vocab_size, place)
        described.write(folder)
        with blaming(source, folder):
            _prove(folder, described.spec, theirs, source)
    return described


def _load(kind: TokenizerKind, folder: Path) -> Any:
    import transformers

    return getattr(transformers, READERS[kind]).from_pretrained(folder, local_files_only=True)


def _add_tokens(theirs: Any, added: Sequence[str], source: Path) -> None:
    """As diffusers adds textual inversions; CheckpointError for tokens that are there already."""
    known = theirs.get_vocab()
    for token in added:
        if token in known:
            raise CheckpointError(
                f"{source} has the token {token!r:.80} already. Give another one to the "
                "--embedding: FILE:TOKEN."
            )
    theirs.add_tokens([*added])


def _check_sections(
    kind: TokenizerKind, texts: Mapping[str, str], theirs: Any, source: Path
) -> None:
    if "tokenizer.json" not in texts:
        return
    own, config = (
        json.loads(texts.get(name, "{}")) for name in ("tokenizer.json", "tokenizer_config.json")
    )
    try:
        if kind == "wordpiece":
            check_wordpiece_sections(own, config, theirs.backend_tokenizer)
        else:
            check_byte_pair_sections(own, theirs.backend_tokenizer)
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be exported: {error}.") from None


def _prove(folder: Path, spec: TokenizerSpec, theirs: Any, source: Path) -> None:
    try:
        if spec.kind == "byte_pair":
            check_engine(folder, spec, theirs.backend_tokenizer)
        check_ids(folder, spec, theirs)
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be exported: {error}.") from None
    except BundleError as error:
        text = str(error)
        for name in spec.files.values():
            text = text.replace(str(folder / name), str(source))
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


def _describe(
    kind: TokenizerKind, theirs: Any, source: Path, max_length: int, vocab_size: int, place: str
) -> DescribedTokenizer:
    backend = theirs.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    try:
        # Before to_str, which counts to the largest id.
        _check_rows(backend.get_vocab(with_added_tokens=True), vocab_size)
        vocabulary = backend.get_vocab(with_added_tokens=False)
        common = {"max_length": max_length, **_sides_and_ids(theirs)}
        sections = json.loads(backend.to_str())
        if kind == "wordpiece":
            return _wordpiece(sections, vocabulary, common, place)
        return _byte_pair(sections, vocabulary, common, place)
    except ValueError as error:
        raise CheckpointError(f"{source} cannot be exported: {error}.") from None


def _sides_and_ids(theirs: Any) -> dict[str, Any]:
    start, end = _frame(theirs.backend_tokenizer.encode("").ids)
    return {
        "padding_side": theirs.padding_side,
        "truncation_side": theirs.truncation_side,
        "start_id": start,
        "end_id": end,
        "pad_id": _pad_id(theirs),
    }


def _wordpiece(
    sections: object, ids: Mapping[str, int], common: Mapping[str, Any], place: str
) -> DescribedTokenizer:
    parts = decode(BertSections, sections, "the tokenizer")
    vocabulary = f"{place}/vocab.txt"
    spec = WordPieceSpec(
        **common,
        files={"vocab": vocabulary},
        unk_id=_unk_id(ids, parts.model.unk_token),
        clean_text=parts.normalizer.clean_text,
        lowercase=parts.normalizer.lowercase,
        strip_accents=parts.normalizer.strip_accents,
        tokenize_chinese_chars=parts.normalizer.handle_chinese_chars,
        added_tokens=tuple(one.as_added_token() for one in parts.added_tokens),
    )
    return DescribedTokenizer(spec, {vocabulary: _vocabulary(ids)})


def _byte_pair(
    sections: object, ids: Mapping[str, int], common: Mapping[str, Any], place: str
) -> DescribedTokenizer:
    parts = decode(ClipSections, sections, "the tokenizer")
    vocabulary, merges = f"{place}/vocab.txt", f"{place}/merges.txt"
    spec = BytePairSpec(
        **common,
        files={"vocab": vocabulary, "merges": merges},
        unk_id=_unk_id(ids, parts.model.unk_token),
        added_tokens=_with_vectors([one.as_added_token() for one in parts.added_tokens]),
    )
    contents = {vocabulary: _vocabulary(ids), merges: _merges(parts.model.merges)}
    return DescribedTokenizer(spec, contents)


def _with_vectors(tokens: Sequence[AddedToken]) -> tuple[AddedToken, ...]:
    """The same, which know how many vectors they have: diffusers' Stable Diffusion takes <x>_1,
    <x>_2 and so on for more of <x>."""
    contents = {token.content for token in tokens}

    def vectors(token: str) -> int:
        return next(n for n in count(1) if f"{token}_{n}" not in contents)

    found = [replace(token, vectors=vectors(token.content)) for token in tokens]
    several = [token.content for token in found if token.vectors > 1]
    for one, other in permutations(several, 2):
        if one in other:
            raise ValueError(
                f"the token {other!r:.80} holds {one!r:.80}, and both have several vectors, which "
                "diffusers replaces in no fixed order. Take other tokens"
            )
    return tuple(found)


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


def _merges(merges: Sequence[tuple[str, str]]) -> str:
    """One merge a line, its tokens apart by a blank."""
    for pair in merges:
        if any(character in token for token in pair for character in " \r\n"):
            raise ValueError(f"the merge {pair!r:.80} has white space in a token")
    return "".join(f"{first} {second}\n" for first, second in merges)
