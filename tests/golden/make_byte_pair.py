"""Writes the golden files of CLIP's byte pairs: ids and warnings, and a small vocabulary.

Run it from the root of the repository: python -m tests.golden.make_byte_pair
"""

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.make_golden import HERE, TEXTS, cut_off, dense, digests
from trt_export.checkpoint.tokenizers.clip_vocabulary import (
    END,
    START,
    clip_tokens,
    published_merges,
)
from trt_pipeline.bundle.tokenizer_specs import AddedToken, BytePairSpec
from trt_pipeline.text import engines
from trt_pipeline.text.tokenizer import Tokenizer

FOLDER = HERE / "clip"
MERGES = 600
LACKING = {"z</w>", "ð"}
"""Taken out of the vocabulary, so that some words are unknown: the byte that begins every emoji is
one of them."""

CLIP_TEXTS = (
    *TEXTS,
    "a photo of the thing, 8k 1234 don't I'M you're we've she'll he'd it's",
    "'still 'tis 're're ''s'' 's's 'S 'LL",
    "<|endoftext|> a<|startoftext|>b <|ENDOFTEXT|>>> !<|EndOfText|>! <|endoftext<|STARTOFTEXT|>",
    "<|endoftext|>" * 3 + " <|endoftext |> <| endoftext|>",
    "quiz jazz zz z pizza ððz",
    "a!! wow!!! (good), [fine]; {ok}... -- __init__ a_b",
    "e\u0301e\u0327\u0301a\u0301\u0345\u0327 \u1e9b\u0323 \u212b\u2126 \u0344 \u0958",
    "\u1100\u1161\u11a8 \u1112\u1161 \uac00\u11a8 \u0cc6\u0cc2\u0cd5 \U00011131\U00011127",
    "\u0915\u093c \ufb1d \u2adc a\u030a\u0301 \u0041\u030a o\u031b\u0323",
    "tabs\t\tand\n\nlines \u3000 \u2028\u2029 \u200b\u180e\ufeff end",
    "½ ² Ⅳ ٣ ๕ 〇 𝟘 ① 12½",
    "ΑΣ ΑΣΑ İI ıi ẞß ǅ ﬀ Ა Ꭰꭰ 𐐀 Ɪ",
    "supercalifragilisticexpialidocious" * 4,
    "in the " * 60 + "end",
    "北京市" * 40,
    "a" * 3 + " " + "th" * 5 + " ththe" + " inininin",
    "<cat-toy>, <CAT-TOY> and<cat-toy>_1<cat-toy>_2<cat-toy>_3",
    "sks SKS <s><s> <S> x <s> y _1",
)


def vocabulary() -> tuple[str, str]:
    """Tokens and merges, one a line."""
    known = {*clip_tokens([])} - LACKING
    merges = []
    for merge in published_merges(MERGES):
        if {*merge.split(" ")} <= known:
            merges.append(merge)
            known.add(merge.replace(" ", ""))
    tokens = [token for token in clip_tokens(merges) if token in known]
    return "\n".join(tokens) + "\n", "\n".join(merges) + "\n"


def cases() -> Iterator[dict[str, Any]]:
    """Tokenizers as a manifest has them, with the ids of the texts and the warnings about them."""
    for spec in specs():
        tokenizer = Tokenizer(HERE, spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = tokenizer.encode(CLIP_TEXTS)
        yield {
            "tokenizer": asdict(spec),
            "input_ids": [_without_padding(row, spec) for row in rows],
            "cut_off": [cut_off(tokenizer, text) for text in CLIP_TEXTS],
        }


def _without_padding(row: NDArray[np.int32], spec: BytePairSpec) -> list[int]:
    """The rest is filled up with pad_id again, which may be the end's own id."""
    real = np.flatnonzero(row != spec.pad_id)
    kept = row[real[0] :] if spec.padding_side == "left" else row[: real[-1] + 1]
    ids: list[int] = kept.tolist()
    return ids


def specs() -> Iterator[BytePairSpec]:
    """Stable Diffusion's; one that pads with "!"; tokens of every flag; the other sides."""
    yield byte_pair()
    yield byte_pair(pad="!", added={"!": set()})
    yield byte_pair(added=FLAGS, specials={"normalized"})
    yield byte_pair(
        added=FLAGS, padding_side="left", truncation_side="left", max_length=20, pad="!"
    )
    yield byte_pair(unk="!", max_length=12)
    yield byte_pair(added=SEVERAL, vectors=VECTORS)
    yield byte_pair(added=SEVERAL, vectors=VECTORS, truncation_side="left", max_length=9)


FLAGS: dict[str, set[str]] = {
    "the</w>": {"normalized"},
    "<cat-toy>": {"normalized"},
    "<cat": {"normalized"},
    "<Dog>": set(),
    "sks": {"normalized", "single_word"},
    "NAÏVE!": {"normalized"},
    "e\u0301": set(),
    "E\u0301a": {"normalized"},
    "北京": {"normalized"},
    "<l>": {"lstrip"},
    "<r>": {"rstrip"},
    "<b>": {"lstrip", "rstrip", "normalized"},
    " \t blank ": {"normalized"},
}


VECTORS = {"<cat-toy>": 3, "SKS": 2, "<s>": 2}
SEVERAL: dict[str, set[str]] = {
    "<cat-toy>": {"normalized"},
    "<cat-toy>_1": {"normalized"},
    "<cat-toy>_2": {"normalized"},
    "SKS": {"normalized"},
    "SKS_1": {"normalized"},
    "<s>": {"lstrip"},
    "<s>_1": set(),
}


def byte_pair(
    folder: str = "clip/",
    unk: str = END,
    pad: str = END,
    added: dict[str, set[str]] | None = None,
    specials: set[str] | None = None,
    vectors: dict[str, int] | None = None,
    **changes: Any,
) -> BytePairSpec:
    """CLIP's usual tokenizer. added, specials: flags of tokens."""
    several = vectors or {}
    known = vocabulary()[0].splitlines()
    flags = {**(added or {}), START: specials or set(), END: specials or set()}
    tokens = [*known, *(content for content in flags if content not in known)]
    names = ("single_word", "lstrip", "rstrip", "normalized")
    usual: dict[str, Any] = {
        "files": {"vocab": f"{folder}vocab.txt", "merges": f"{folder}merges.txt"},
        "max_length": 77,
        "padding_side": "right",
        "truncation_side": "right",
        "start_id": tokens.index(START),
        "end_id": tokens.index(END),
        "pad_id": tokens.index(pad),
        "unk_id": tokens.index(unk),
        "added_tokens": tuple(
            AddedToken(
                content,
                tokens.index(content),
                **{name: name in flags[content] for name in names},
                vectors=several.get(content, 1),
            )
            for content in sorted(flags, key=tokens.index)
        ),
    }
    return BytePairSpec(**{**usual, **changes})


def character_digests() -> dict[str, list[str]]:
    """For each plane, sha256 of what each rule makes of its characters one by one."""
    engine = engines.byte_pair(HERE, byte_pair())
    normalize, split = engine.normalizer.normalize_str, engine.pre_tokenizer.pre_tokenize_str
    return digests(
        {
            "normalized": normalize,
            "after_a_mark": lambda c: str(normalize(f"a\u0345{c}")),
            "words": lambda c: str(len(split(f"a{c}{c}a"))),
        }
    )


def contents() -> str:
    """The text of byte_pair.json."""
    document = {
        "texts": CLIP_TEXTS,
        "cases": list(cases()),
        "characters": character_digests(),
    }
    return dense(document) + "\n"


def main() -> None:
    """Write the golden files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in zip(("vocab.txt", "merges.txt"), vocabulary(), strict=True):
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
    (HERE / "byte_pair.json").write_text(contents(), encoding="utf-8")


if __name__ == "__main__":
    main()
