"""What the tokenizers package's tokenizer.json says, as far as the runtimes can do it."""

from dataclasses import dataclass
from typing import Any, Literal

from trt_pipeline.bundle.tokenizer_specs import AddedToken


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
class BytePair:
    """The model in tokenizer.json of CLIP; its settings are compared with the runtimes'."""

    type: Literal["BPE"]
    dropout: Any
    unk_token: str
    continuing_subword_prefix: Any
    end_of_word_suffix: Any
    fuse_unk: Any
    byte_fallback: Any
    ignore_merges: Any
    vocab: Any
    """As in WordPiece."""
    merges: tuple[tuple[str, str], ...]


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
class Sections:
    """tokenizer.json as transformers' backend would write it."""

    version: Literal["1.0"]
    truncation: Any
    """This and padding, every call sets anew."""
    padding: Any
    added_tokens: tuple[BackendToken, ...]
    normalizer: Any
    pre_tokenizer: Any
    post_processor: Any
    """Asked what it adds to the empty text."""
    decoder: Any
    """Makes text of tokens."""
    model: Any


@dataclass(frozen=True, slots=True)
class BertSections(Sections):
    """BERT's, whose normalizer has settings."""

    normalizer: BertNormalizer
    pre_tokenizer: BertPreTokenizer
    model: WordPiece


@dataclass(frozen=True, slots=True)
class ClipSections(Sections):
    """CLIP's. Its normalizer and pre-tokenizer are compared with the runtimes'."""

    model: BytePair
