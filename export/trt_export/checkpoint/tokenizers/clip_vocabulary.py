"""CLIP's published tokenizer (github.com/openai/CLIP, MIT licence), which Stable Diffusion has.

Its merges are kept; the tokens follow from them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "published" / "clip"
MERGES = 48_894
START, END = "<|startoftext|>", "<|endoftext|>"
VISIBLE = (range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100))
"""Bytes that are written as the characters of their numbers, and come first."""


def published_merges(count: int = MERGES) -> list[str]:
    """The first merges: two tokens with a blank between them."""
    text = (PUBLISHED / "merges.txt").read_text(encoding="utf-8")
    return text.split("\n")[:count]


def clip_tokens(merges: Sequence[str]) -> list[str]:
    """Every token in the order of ids: bytes, bytes that end a word, merges, and the two that frame
    a text."""
    visible = [byte for numbers in VISIBLE for byte in numbers]
    letters = [chr(byte) for byte in visible] + [chr(256 + n) for n in range(256 - len(visible))]
    ends = [f"{letter}</w>" for letter in letters]
    return [*letters, *ends, *(merge.replace(" ", "") for merge in merges), START, END]


def write_clip_tokenizer(folder: Path, pad_token: str = END, merges: int = MERGES) -> None:
    """Write a tokenizer's folder as Stable Diffusion's repositories have it.

    merges: how many of them, for a smaller vocabulary of 514 tokens more than that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = published_merges(merges)
    ids = {token: number for number, token in enumerate(clip_tokens(kept))}
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad_token}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    contents = {
        "vocab.json": json.dumps(ids, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *kept]) + "\n",
        "special_tokens_map.json": json.dumps(special, indent=2),
        "tokenizer_config.json": json.dumps(config, indent=2),
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
