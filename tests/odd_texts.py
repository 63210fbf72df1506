"""Texts in which tokenizers may differ, and CLIP's tokenizer of transformers for them."""

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AddedToken, CLIPTokenizerFast

from trt_export.checkpoint.tokenizers.clip_vocabulary import write_clip_tokenizer

ADDED_TOKENS = (
    AddedToken("<cat-toy>", normalized=True),
    AddedToken("<cat-toy>-1", normalized=True),
    AddedToken("<Dog>", normalized=False),
    AddedToken("sks", single_word=True, normalized=True),
    AddedToken("<L>", lstrip=True, normalized=False),
    AddedToken("<R>", rstrip=True, normalized=True),
    AddedToken("E\u0301x", normalized=True),
    AddedToken(" of ", normalized=True),
)
"""As textual inversion adds them, and with every flag."""

SPACES = [
    *" \t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u180e\u2003\u2028\u2029\u202f\u205f\u200b\u3000\ufeff"
]
PIECES = (
    *(
        "a photo of",
        "painting",
        "cat",
        "Astronaut",
        "highly detailed",
        "8K",
        "1girl",
        "masterpiece",
    ),
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "’s", "don't", "''", "'", "'lls", "I'M"),
    *("İ", "I", "ı", "i\u0307", "ΑΣ", "Σ", "ς", "ΌΔΟΣ", "ẞ", "ß", "ŉ", "ǅ", "ﬁ", "Ꭰ", "Ა", "K"),
    *("😀", "👩‍👩‍👧", "👍🏽", "🇩🇪", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☃", "™", "½", "Ⅳ", "٣", "〇", "𝟘", "²"),
    *("日本語", "漢字", "한국어", "\u1112\u1161\u11ab", "عربى", "मनीष", "ไทย", "עברית", "𐐀", "𝔘"),
    *("0", "12", "345678", "1.5", "3,000", "v2", "x86_64", "#1", "$5.99", "100%", "1/2", "²³"),
    *(
        "(red:1.2)",
        "[blue|green]",
        "{a}",
        "--ar 16:9",
        "...",
        "!!!",
        "?!",
        "_",
        "__init__",
        "@user",
    ),
    *("<|endoftext|>", "<|startoftext|>", "<|ENDOFTEXT|>", "<|StartOfText|>", "<|endoftext", "|>"),
    *("é", "e\u0301", "a\u0323\u0307", "\u0344", "\u0958", "Å", "\u0301", "\u0345\u0301", "\u0b4b"),
)
RANGES = (
    *((0x20, 0x7F), (0x20, 0x250), (0x250, 0x600), (0x600, 0x1000), (0x1000, 0x2000)),
    *(
        (0x2000, 0x2C00),
        (0x2C00, 0xD800),
        (0xE000, 0x10000),
        (0x10000, 0x20000),
        (0x20000, 0x110000),
    ),
)
MARKS = (
    *((0x300, 0x370), (0x483, 0x488), (0x591, 0x5C8), (0x610, 0x61B), (0x7EB, 0x7FE)),
    *((0x93C, 0x94E), (0xF71, 0xF88), (0x1DC0, 0x1E00), (0x20D0, 0x20F1), (0x3099, 0x309B)),
    *(
        (0xA66F, 0xA67E),
        (0x10F46, 0x10F51),
        (0x11930, 0x11944),
        (0x1D165, 0x1D16E),
        (0x1161, 0x1176),
    ),
)


def odd_texts(count: int, seed: int = 0) -> list[str]:
    """As many texts of all sorts, the added tokens in some of them; no surrogates."""
    pick = random.Random(seed)
    return [_text(pick) for _ in range(count)]


def write_with_added_tokens(
    folder: Path, pad_token: str
) -> tuple[CLIPTokenizerFast, dict[str, Path]]:
    """CLIP's published tokenizer with ADDED_TOKENS as transformers saves it, and its files."""
    write_clip_tokenizer(folder, pad_token)
    theirs = CLIPTokenizerFast.from_pretrained(folder)
    theirs.add_tokens([*ADDED_TOKENS])
    theirs.save_pretrained(folder)
    return theirs, {path.name: path for path in folder.iterdir()}


def clip_ids(
    theirs: CLIPTokenizerFast, texts: list[str], max_length: int = 77
) -> NDArray[np.int64]:
    """What diffusers' pipelines hand to the text encoder."""
    call = {"padding": "max_length", "max_length": max_length, "truncation": True}
    return np.asarray(theirs(texts, **call).input_ids)


def _text(pick: random.Random) -> str:
    if pick.random() < 0.02:
        return _letters(pick) * pick.randrange(1, 300)
    spaces = (" ", " ", "", pick.choice(SPACES))
    pieces = (_piece(pick) + pick.choice(spaces) for _ in range(pick.choice((1, 3, 8, 20, 60))))
    return "".join(pieces)


def _piece(pick: random.Random) -> str:
    kind = pick.random()
    if kind < 0.1:
        token = str(pick.choice(ADDED_TOKENS))
        return pick.choice(
            (token, token.upper(), token.lower(), token[:-1], f"x{token}", f"{token}1")
        )
    if kind < 0.5:
        piece = pick.choice(PIECES)
        return pick.choice((piece, piece, piece.upper(), piece.title()))
    if kind < 0.65:
        return _letters(pick)
    if kind < 0.8:
        return pick.choice("aeou ΩകкА") + "".join(_character(pick, MARKS) for _ in range(4))
    return "".join(_character(pick, RANGES) for _ in range(pick.randrange(1, 8)))


def _letters(pick: random.Random) -> str:
    return "".join(pick.choice("aabcdeefghiiklmnooprstuuwyz") for _ in range(pick.randrange(1, 14)))


def _character(pick: random.Random, ranges: tuple[tuple[int, int], ...]) -> str:
    return chr(pick.randrange(*pick.choice(ranges)))
