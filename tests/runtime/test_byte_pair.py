"""CLIP's tokens, with a vocabulary of its bytes and first 600 merges."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.golden.make_byte_pair import FOLDER, byte_pair
from trt_pipeline import Bundle, BundleError, PromptTruncatedWarning
from trt_pipeline.bundle import manifest_json, parse_manifest
from trt_pipeline.bundle.tokenizer_specs import BytePairSpec
from trt_pipeline.text.tokenizer import Tokenizer

SPEC = byte_pair(folder="")
TOKENS = (FOLDER / "vocab.txt").read_text(encoding="utf-8").splitlines()


def pieces(text: str, spec: BytePairSpec = SPEC) -> list[str]:
    """The tokens of a text without the frame and the padding."""
    row = Tokenizer(FOLDER, spec).encode([text])[0].tolist()
    return [TOKENS[one] for one in row[1 : row.index(spec.end_id, 1)]]


def own(folder: Path, merges: str) -> Tokenizer:
    """The tokenizer with other merges."""
    shutil.copyfile(FOLDER / "vocab.txt", folder / "vocab.txt")
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    return Tokenizer(folder, SPEC)


def test_pairs_are_merged_in_the_order_of_the_merges() -> None:
    assert pieces("the thing") == ["the</w>", "thing</w>"]
    assert pieces("thx") == ["th", "x</w>"]


def test_letters_are_lower_case_in_nfc_and_spaces_do_not_count() -> None:
    assert pieces(" E\u0301 \u3000\n THE") == pieces("\u00e9 the")


def test_contractions_digits_and_signs_are_words() -> None:
    assert pieces("it's 12!?") == ["it</w>", "'s</w>", "1</w>", "2</w>", "!", "?</w>"]


def test_what_has_no_token_is_the_unknown_one() -> None:
    assert pieces("zz", byte_pair(folder="", unk="!")) == ["z", "!"]


def test_a_padding_token_is_found_in_the_text() -> None:
    spec = byte_pair(folder="", pad="!", added={"!": set()})
    assert pieces("the!", spec) == ["the</w>", "!"]


def test_the_name_of_a_special_token_is_that_token_as_it_is_written() -> None:
    row = Tokenizer(FOLDER, SPEC).encode(["<|startoftext|><|STARTOFTEXT|>"])[0]
    assert row[1] == SPEC.start_id
    assert SPEC.start_id not in row[2:]


def test_a_long_prompt_is_cut_with_a_warning_that_names_the_rest() -> None:
    with pytest.warns(PromptTruncatedWarning, match=r"77 tokens .* cut off: 'Thing ü'"):
        row = Tokenizer(FOLDER, SPEC).encode(["the " * 75 + "Thing ü"])[0]
    assert (row[75], row[76]) == (TOKENS.index("the</w>"), SPEC.end_id)


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ("t h\nt h\n", "merges.txt has the merge 't h' twice"),
        ("t h e\n", "merges.txt: the merge 't h e' is not two tokens with a blank between them"),
        ("th\n", "the merge 'th' is not two tokens"),
        (" th\n", "the merge ' th' is not two tokens"),
        ("t h\n\n", "the merge '' is not two tokens"),
        ("q x\n", "the merge 'q x' needs the token 'qx', which the vocabulary lacks"),
    ],
)
def test_merges_that_the_vocabulary_does_not_allow_are_refused(
    tmp_path: Path, merges: str, message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        own(tmp_path, merges)


def test_merges_that_are_no_text_are_refused(tmp_path: Path) -> None:
    own(tmp_path, "t h\n")
    (tmp_path / "merges.txt").write_bytes(b"\xff")
    with pytest.raises(BundleError, match=r"merges.txt cannot be read as merges"):
        Tokenizer(tmp_path, SPEC)


@pytest.mark.parametrize("name", ["start_id", "end_id", "pad_id", "unk_id"])
def test_an_id_beyond_the_vocabulary_is_refused(name: str) -> None:
    changes: dict[str, Any] = {name: len(TOKENS)}
    with pytest.raises(BundleError, match=rf"vocab.txt: {name} is {len(TOKENS)}, expected 0 to"):
        Tokenizer(FOLDER, replace(SPEC, **changes))


def manifest(bundle: Bundle) -> Bundle:
    """The bundle's, with a second tokenizer."""
    files = {**bundle.files, "merges.txt": bundle.files["vocab.txt"]}
    return replace(bundle, files=files, tokenizer_2=SPEC)


def test_a_manifest_may_have_a_second_tokenizer(bundle: Bundle) -> None:
    both = manifest(bundle)
    assert parse_manifest(bundle.path, json.loads(manifest_json(both))) == both


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lowercase": True}, "the manifest.tokenizer_2 has an unknown entry 'lowercase'"),
        ({"kind": "wordpiece"}, "the manifest.tokenizer_2.clean_text is missing"),
        ({"kind": 1}, "tokenizer_2.kind is 1, expected wordpiece or byte_pair"),
        ({"files": {"vocab": "vocab.txt"}}, "its files are 'vocab', expected 'vocab' and 'merges'"),
        ({"files": {"vocab": "vocab.txt", "merges": "a"}}, "does not list 'a'"),
    ],
)
def test_a_second_tokenizer_that_does_not_follow_the_format_is_refused(
    bundle: Bundle, changes: dict[str, object], message: str
) -> None:
    entries = json.loads(manifest_json(manifest(bundle)))
    entries["tokenizer_2"] |= changes
    with pytest.raises(BundleError, match=message):
        parse_manifest(bundle.path, entries)


def test_a_tokenizer_needs_a_kind(bundle: Bundle) -> None:
    entries = json.loads(manifest_json(manifest(bundle)))
    del entries["tokenizer_2"]["kind"]
    with pytest.raises(BundleError, match=r"the manifest.tokenizer_2.kind is missing"):
        parse_manifest(bundle.path, entries)
