"""How prompts become token ids: the manifest's entries `tokenizer` and `tokenizer_2`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, TypeAlias

from trt_pipeline.bundle.manifest import MAX_SIZE

TokenizerKind: TypeAlias = Literal["wordpiece", "byte_pair"]
Side: TypeAlias = Literal["left", "right"]

MAX_TOKEN_ID = 2**31 - 1
"""Graphs take ids as int32."""
MAX_ADDED_TOKENS = 1024
MAX_TOKEN_CHARACTERS = 128
"""Of an added token; that many tokens of that length fit into a manifest."""


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A piece of text that is one token wherever it stands, however words are split otherwise."""

    content: str
    id: int
    single_word: bool
    """Whether it is found only where no letter, digit or mark touches it."""
    lstrip: bool
    """Whether it takes the white space before it."""
    rstrip: bool
    """Whether it takes the white space after it."""
    normalized: bool
    """Whether it is looked for in normalized text, in its own normalized form."""
    vectors: int = 1
    """How many tokens a text that has it is read with: <x> of three is <x> <x>_1 <x>_2."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The contents of all its tokens."""
        return (self.content, *(f"{self.content}_{n}" for n in range(1, self.vectors)))

    def __post_init__(self) -> None:
        """ValueError for a content that no token has, or a number of vectors."""
        if not 1 <= self.vectors <= MAX_ADDED_TOKENS:
            raise ValueError(f"vectors is {self.vectors}, expected 1 to {MAX_ADDED_TOKENS}")
        if not 1 <= len(self.content) <= MAX_TOKEN_CHARACTERS:
            raise ValueError(
                f"content has {len(self.content)} characters, expected 1 to {MAX_TOKEN_CHARACTERS}"
            )
        if any("\ud800" <= character <= "\udfff" for character in self.content):
            raise ValueError(f"content is {self.content!r:.80}, half of a surrogate pair")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSpec:
    """What tokenizers of every kind have."""

    FILES: ClassVar[tuple[str, ...]] = ("vocab",)
    """What the files of the kind hold."""

    kind: str
    files: Mapping[str, str]
    """What a file holds → the file, relative to the bundle.

    `vocab`: one token a line, whose id is the line's number from 0.
    """
    max_length: int
    """Every prompt is padded and truncated to this many tokens."""
    padding_side: Side
    truncation_side: Side
    """Where a longer prompt loses tokens."""
    start_id: int
    """Of the token before the text."""
    end_id: int
    """Of the token after the text."""
    pad_id: int
    unk_id: int
    """Of the token for what the vocabulary has no pieces for."""
    added_tokens: tuple[AddedToken, ...]
    """By rising id. Those that the vocabulary lacks follow its ids without a gap."""

    def __post_init__(self) -> None:
        """ValueError for other files than the kind has, no room for the start and the end, or
        ids that no token has."""
        if set(self.files) != set(self.FILES):
            found = ", ".join(map(repr, sorted(self.files))) or "none"
            expected = " and ".join(map(repr, self.FILES))
            raise ValueError(f"its files are {found:.80}, expected {expected}")
        if not 2 <= self.max_length <= MAX_SIZE:
            raise ValueError(f"max_length is {self.max_length}, expected 2 to {MAX_SIZE}")
        for name in ("start_id", "end_id", "pad_id", "unk_id"):
            if not 0 <= getattr(self, name) <= MAX_TOKEN_ID:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to {MAX_TOKEN_ID}")
        self._check_added_tokens()

    def _check_added_tokens(self) -> None:
        added = self.added_tokens
        if len(added) > MAX_ADDED_TOKENS:
            raise ValueError(f"it adds {len(added)} tokens, expected at most {MAX_ADDED_TOKENS}")
        ids = [-1, *(token.id for token in added), MAX_TOKEN_ID + 1]
        if any(later <= earlier for earlier, later in pairwise(ids)):
            raise ValueError(f"the ids of added_tokens must rise within 0 to {MAX_TOKEN_ID}")
        for content, count in Counter(token.content for token in added).items():
            if count > 1:
                raise ValueError(f"added_tokens has {content!r:.80} twice")
        contents = {token.content for token in added}
        for token in added:
            for part in token.parts:
                if part not in contents:
                    raise ValueError(
                        f"added_tokens lacks {part!r:.80}, but {token.content!r:.80} has "
                        f"{token.vectors} vectors"
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPieceSpec(CommonSpec):
    """BERT's: a word is split into the longest pieces that the vocabulary has."""

    kind: Literal["wordpiece"] = "wordpiece"
    clean_text: bool
    """Whether control characters are dropped, and all white space becomes blanks."""
    lowercase: bool
    strip_accents: bool | None
    """None follows lowercase."""
    tokenize_chinese_chars: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BytePairSpec(CommonSpec):
    """CLIP's: a word's bytes are merged pair by pair; texts are lower case in NFC.

    `merges` has one merge a line, the first to be made first: two tokens with a blank between them.
    """

    FILES: ClassVar[tuple[str, ...]] = ("vocab", "merges")

    kind: Literal["byte_pair"] = "byte_pair"


TokenizerSpec: TypeAlias = WordPieceSpec | BytePairSpec
