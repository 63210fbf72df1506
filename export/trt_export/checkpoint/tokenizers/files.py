"""The files that transformers reads a tokenizer from, checked key by key.

What could change tokens and is not known is refused here; what is left, transformers may read.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

from trt_export.checkpoint.files.texts import read_object, read_text
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.tokenizer_specs import Side, TokenizerKind
from trt_pipeline.errors import CheckpointError

MAX_FILE_BYTES = 16 * 2**20
"""BERT's largest tokenizer.json, of 120,000 tokens, takes 3 MB."""
MAX_ADDED = 2**16
"""Entries of added_tokens.json; the bundle has a bound of its own."""

MAX_TOKENS = 2**20
"""Entries of vocab.json."""

VOCABULARIES: Mapping[TokenizerKind, tuple[str, ...]] = {
    "wordpiece": ("vocab.txt",),
    "byte_pair": ("vocab.json", "merges.txt"),
}
"""Files that must be there where tokenizer.json, which transformers prefers, is not."""
CONFIG = "tokenizer_config.json"
OTHER_VOCABULARIES = ("tokenizer.model", "tekken.json", "tiktoken.model")
"""transformers 5 takes these before a vocabulary of its class, for any class of tokenizers."""

SPECIAL_TOKENS = {
    *("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token"),
    *("additional_special_tokens", "extra_special_tokens"),
}
FLAGS = {"__type", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}
"""Of a token that is written as an object."""
SECTIONS = {
    *("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer"),
    *("post_processor", "decoder", "model"),
}
"""Of tokenizer.json."""
NEEDED_SECTIONS = ("added_tokens", "model")
"""The others may be left out, which means none."""


@dataclass(frozen=True, slots=True)
class Honoured:
    """What tokenizer_config.json may say that changes tokens; transformers reads it."""

    padding_side: Side = "right"
    truncation_side: Side = "right"
    added_tokens_decoder: Any = None
    unk_token: Any = None
    sep_token: Any = None
    pad_token: Any = None
    cls_token: Any = None
    mask_token: Any = None
    bos_token: Any = None
    eos_token: Any = None
    additional_special_tokens: Any = None
    extra_special_tokens: Any = None


@dataclass(frozen=True, slots=True)
class HonouredByBert(Honoured):
    """BERT's settings."""

    tokenizer_class: Literal["BertTokenizer", "BertTokenizerFast"] | None = None
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True


@dataclass(frozen=True, slots=True)
class HonouredByClip(Honoured):
    """CLIP's class; its tokenizers have no settings of their own."""

    tokenizer_class: Literal["CLIPTokenizer", "CLIPTokenizerFast"] | None = None


HONOURED: Mapping[TokenizerKind, type[Honoured]] = {
    "wordpiece": HonouredByBert,
    "byte_pair": HonouredByClip,
}
ONLY: Mapping[str, tuple[object, ...]] = {
    "do_basic_tokenize": (True,),
    "never_split": (None, []),
    "split_special_tokens": (False,),
    "add_prefix_space": (False,),
    "add_bos_token": (False, None),
    "add_eos_token": (False, None),
    "init_inputs": ([],),
}
"""Setting → the values with which it changes nothing."""
ONLY_OF_CLIP: Mapping[str, tuple[object, ...]] = {"do_lower_case": (True,)}
"""Likewise: CLIP's texts are lower case in any case."""

HARMLESS: Mapping[str, str] = {
    "model_max_length": "the pipeline says how long a prompt may be",
    "max_len": "an older name of model_max_length",
    "max_length": "the pipeline says how long a prompt may be",
    "stride": "for the rest of a text that was cut, which the pipeline drops",
    "truncation_strategy": "for pairs of texts",
    "pad_to_multiple_of": "the pipeline pads to one length",
    "pad_token_type_id": "of token types, which no text encoder here reads",
    "model_input_names": "the pipeline takes input_ids alone",
    "clean_up_tokenization_spaces": "for text made of tokens",
    "chat_template": "for chats",
    "response_template": "for chats",
    "chat_control_tokens": "for chats",
    "name_or_path": "where it came from",
    "special_tokens_map_file": "where it came from",
    "tokenizer_file": "where it came from",
    "vocab_file": "where it came from",
    "is_local": "where it came from",
    "local_files_only": "where it came from",
    "transformers_version": "what wrote it",
    "backend": "what wrote it; these tokenizers have one backend",
    "processor_class": "names a class that holds a tokenizer",
    "errors": "for text made of tokens",
    "merges_file": "where it came from",
    "use_fast": "the fast tokenizer is the reference",
    "verbose": "for messages",
}
"""Setting that changes no token → why; transformers doesn't get to see it."""


def checked_files(kind: TokenizerKind, files: Mapping[str, Path]) -> dict[str, str]:
    """transformers' name → text of what it may read.

    CheckpointError for files that are too large, or say what this exporter does not know.
    """
    return {
        name: _config(kind, path) if name == CONFIG else CHECKS[name](path)
        for name, path in files.items()
    }


def _lines(path: Path) -> str:
    try:
        return read_text(path, MAX_FILE_BYTES)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read as a vocabulary: {error}.") from None


def _ids(path: Path, max_entries: int) -> str:
    content = read_object(path, MAX_FILE_BYTES, max_entries)
    for token, number in content.items():
        if type(number) is not int or number < 0:
            raise CheckpointError(
                f"{path}: {token!r:.80} is {number!r:.80}, expected its id, from 0."
            )
    return json.dumps(content)


def _backend(path: Path) -> str:
    content = read_object(path, MAX_FILE_BYTES)
    for name in NEEDED_SECTIONS:
        if name not in content:
            raise CheckpointError(f"{path} has no {name}. Save the tokenizer again.")
    return _only_known(path, content, SECTIONS)


def _special_tokens_map(path: Path) -> str:
    return _honoured(path, read_object(path), Honoured, SPECIAL_TOKENS)


def _config(kind: TokenizerKind, path: Path) -> str:
    content, honoured = read_object(path), HONOURED[kind]
    only = {**ONLY, **ONLY_OF_CLIP} if kind == "byte_pair" else ONLY
    for name, allowed in only.items():
        value = content.pop(name, allowed[0])
        if not any(type(value) is type(one) and value == one for one in allowed):
            expected = " or ".join(map(repr, allowed))
            raise CheckpointError(
                f"{path}: {name} is {value!r:.80}; only {expected} can be exported."
            )
    kept = {name: value for name, value in content.items() if name not in HARMLESS}
    return _honoured(path, kept, honoured, {field.name for field in fields(honoured)})


def _honoured(
    path: Path, content: Mapping[str, Any], honoured: type[Honoured], known: set[str]
) -> str:
    text = _only_known(path, content, known)
    try:
        decode(honoured, content, "it")
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None
    _check_tokens(path, content)
    return text


def _check_tokens(path: Path, value: object) -> None:
    """Tokens may be written as objects, at any depth; transformers drops a flag it doesn't know."""
    if isinstance(value, dict) and "content" in value:
        _only_known(path, value, FLAGS)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _check_tokens(path, one)


def _only_known(path: Path, content: Mapping[str, Any], known: set[str]) -> str:
    for name, value in content.items():
        if name not in known:
            raise CheckpointError(
                f"{path}: {name} is {value!r:.80}, and this exporter does not know what that does "
                "to the tokens of a prompt. Take it out if it does nothing."
            )
    return json.dumps(content)


CHECKS: Mapping[str, Callable[[Path], str]] = {
    "tokenizer.json": _backend,
    "vocab.txt": _lines,
    "vocab.json": partial(_ids, max_entries=MAX_TOKENS),
    "merges.txt": _lines,
    "added_tokens.json": partial(_ids, max_entries=MAX_ADDED),
    "special_tokens_map.json": _special_tokens_map,
}
