"""What tokenizer.json says is what transformers makes of it, or the difference is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AddedToken, BertTokenizerFast

from tests.export.test_tokenizers import WORDS, backend, bert_spec, read, write
from trt_pipeline.errors import CheckpointError


def changed(section: str, **values: object) -> dict[str, Any]:
    """tokenizer.json with other values in a section."""
    saved = backend()
    return {**saved, section: {**saved[section], **values}}


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        (
            "pre_tokenizer",
            {"type": "WhitespaceSplit"},
            r'pre_tokenizer is {"type": "WhitespaceSplit"}, but transformers takes '
            r'{"type": "BertPreTokenizer"}. Write the latter there if',
        ),
        ("pre_tokenizer", None, r"pre_tokenizer is null, but transformers takes"),
        ("normalizer", None, r"normalizer is null, but transformers takes"),
        ("normalizer", {"type": "NFC"}, r'normalizer.type is "NFC", .* takes "BertNormalizer"'),
        (
            "post_processor",
            None,
            r'post_processor is {"a": 5}, .* takes {"\[CLS\]": 2, "a": 5, "\[SEP\]": 3}',
        ),
        (
            "post_processor",
            {"type": "BertProcessing", "cls": ["x", 8], "sep": ["[SEP]", 3]},
            r'post_processor is {"x": 8, "a": 5, "\[SEP\]": 3}',
        ),
    ],
)
def test_a_section_that_transformers_drops_is_refused(
    tmp_path: Path, section: str, value: object, message: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"tokenizer.json cannot be exported: .*{message}"):
        read(write(tmp_path, tokenizer={**backend(), section: value}))


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("model", "type", "BPE", 'is "BPE", but transformers takes "WordPiece"'),
        ("model", "unk_token", "a", r'is "a", but transformers takes "\[UNK\]"'),
        ("model", "continuing_subword_prefix", "@@", 'is "@@", but transformers takes "##"'),
        ("model", "max_input_chars_per_word", 3, "is 3, but transformers takes 100"),
        ("normalizer", "clean_text", False, "is false, but transformers takes true"),
        ("normalizer", "lowercase", False, "takes true. State do_lower_case in"),
        ("normalizer", "strip_accents", True, "takes null. State strip_accents in"),
        ("normalizer", "handle_chinese_chars", False, "takes true. State tokenize_chinese_chars"),
    ],
)
def test_a_value_that_transformers_drops_is_refused(
    tmp_path: Path, section: str, name: str, value: object, message: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"{section}.{name} .*{message}"):
        read(write(tmp_path, tokenizer=changed(section, **{name: value})))


def test_the_configuration_s_normalizer_is_preferred(tmp_path: Path) -> None:
    config = {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True}
    saved = changed("normalizer", strip_accents=True, handle_chinese_chars=False)
    spec = bert_spec(read(write(tmp_path, tokenizer=saved, tokenizer_config=config)))
    assert (spec.lowercase, spec.strip_accents, spec.tokenize_chinese_chars) == (False, None, True)


def test_another_post_processor_may_add_the_same_tokens(tmp_path: Path) -> None:
    same = {"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}
    spec = read(write(tmp_path, tokenizer={**backend(), "post_processor": same})).spec
    assert (spec.start_id, spec.end_id) == (2, 3)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("settings", "tokens", "start"),
    [
        ({}, [], 2),
        ({"do_lower_case": False, "strip_accents": False}, ["<y>"], 2),
        ({"cls_token": "<x>", "sep_token": "x", "pad_token": "a", "unk_token": "red"}, ["<y>"], 12),
    ],
)
def test_what_transformers_saves_is_read(
    tmp_path: Path, version: int, settings: dict[str, Any], tokens: list[str], start: int
) -> None:
    theirs = BertTokenizerFast.from_pretrained(write(tmp_path), **settings)
    theirs.add_tokens([AddedToken(token) for token in tokens])
    if version == 5:
        (tmp_path / "vocab.txt").unlink()
    theirs.save_pretrained(tmp_path)
    if version == 4:
        as_transformers_4(tmp_path)
    spec = bert_spec(read(tmp_path))
    assert (spec.start_id, spec.lowercase) == (start, settings.get("do_lower_case", True))
    assert [one.content for one in spec.added_tokens if one.id >= len(WORDS)] == [
        *(["<x>"] if start == 12 else []),
        *tokens,
    ]


def as_transformers_4(folder: Path) -> None:
    """Add to tokenizer.json and vocab.txt what version 4 writes beside them."""
    saved = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    special = {name: value for name, value in config.items() if name.endswith("_token")}
    extra = {one["content"]: one["id"] for one in saved if one["id"] >= len(WORDS)}
    config["added_tokens_decoder"] = {str(one.pop("id")): one for one in saved}
    for name, content in (
        ("added_tokens", extra),
        ("special_tokens_map", special),
        ("tokenizer_config", config),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
