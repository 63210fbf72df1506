"""A checkpoint's CLIP tokenizer is the one that transformers reads from it, or it is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AddedToken, CLIPTokenizerFast

from trt_export.checkpoint.tokenizers.clip_vocabulary import END, START, write_clip_tokenizer
from trt_export.checkpoint.tokenizers.description import DescribedTokenizer, read_tokenizer
from trt_export.checkpoint.tokenizers.proof import ODD_TEXTS
from trt_pipeline.errors import CheckpointError
from trt_pipeline.text.tokenizer import Tokenizer

MERGES = 300
ROWS = 514 + MERGES
START_ID, END_ID = ROWS - 2, ROWS - 1
AS_PUBLISHED = {"add_prefix_space": False, "errors": "replace", "do_lower_case": True}
"""As Stable Diffusion 1.5's repository has them."""
FLAGS = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def read(folder: Path, rows: int = ROWS) -> DescribedTokenizer:
    files = {path.name: path for path in folder.iterdir()}
    return read_tokenizer("byte_pair", files, 77, rows)


def write(folder: Path, pad_token: str = END, **files: object) -> Path:
    """A folder as repositories have it, with other content in these JSON files."""
    write_clip_tokenizer(folder, pad_token, MERGES)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def configured(**changes: Any) -> dict[str, Any]:
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    return {"tokenizer_class": "CLIPTokenizer", **special, **changes}


def saved(folder: Path) -> dict[str, Any]:
    """tokenizer.json as transformers writes it."""
    text = CLIPTokenizerFast.from_pretrained(write(folder)).backend_tokenizer.to_str()
    content: dict[str, Any] = json.loads(text)
    return content


def ours(folder: Path, found: DescribedTokenizer, texts: list[str]) -> list[list[int]]:
    found.write(folder)
    ids: list[list[int]] = Tokenizer(folder, found.spec).encode(texts).tolist()
    return ids


def test_the_published_tokenizer_gives_clip_s_ids(tmp_path: Path) -> None:
    write_clip_tokenizer(tmp_path)
    found = read(tmp_path, 49_408)
    spec = found.spec
    assert (spec.start_id, spec.end_id, spec.pad_id, spec.unk_id) == (49406, 49407, 49407, 49407)
    [row] = ours(tmp_path, found, ["a red circle, 3 cats"])
    assert row[:9] == [49406, 320, 736, 7117, 267, 274, 3989, 49407, 49407]


def test_the_files_are_one_token_and_one_merge_a_line(tmp_path: Path) -> None:
    found = read(write(tmp_path))
    assert found.spec.files == {"vocab": "tokenizer/vocab.txt", "merges": "tokenizer/merges.txt"}
    vocabulary, merges = (text.splitlines() for text in found.contents.values())
    assert (vocabulary[0], vocabulary[START_ID:]) == ("!", [START, END])
    assert (len(merges), merges[0], vocabulary[512]) == (MERGES, "i n", "in")


def test_the_second_tokenizer_has_a_folder_of_its_own(tmp_path: Path) -> None:
    files = {path.name: path for path in write(tmp_path).iterdir()}
    found = read_tokenizer("byte_pair", files, 77, ROWS, "tokenizer_2")
    assert [*found.contents] == ["tokenizer_2/vocab.txt", "tokenizer_2/merges.txt"]


def test_padding_with_an_exclamation_mark_makes_every_one_the_padding_token(
    tmp_path: Path,
) -> None:
    found = read(write(tmp_path, "!"))
    assert (found.spec.pad_id, found.spec.added_tokens[0].content) == (0, "!")
    [row] = ours(tmp_path, found, ["a!"])
    assert row[:5] == [START_ID, 320, 0, END_ID, 0]


def test_repositories_flags_of_special_tokens_are_honoured(tmp_path: Path) -> None:
    start = {"__type": "AddedToken", "content": START, **FLAGS}
    config = configured(**AS_PUBLISHED, bos_token=start, model_max_length=77)
    found = read(write(tmp_path, tokenizer_config=config, special_tokens_map={}))
    [row] = ours(tmp_path, found, ["a <|STARTOFTEXT|> a"])
    assert row[:5] == [START_ID, 320, START_ID, 320, END_ID]


@pytest.mark.parametrize("version", [4, 5])
def test_what_transformers_saves_is_read(tmp_path: Path, version: int) -> None:
    """With tokens of textual inversion."""
    theirs = CLIPTokenizerFast.from_pretrained(write(tmp_path / "first"))
    theirs.add_tokens(["<cat-toy>", "<cat-toy>-1", AddedToken("sks", single_word=True)])
    folder = tmp_path / "saved"
    if version == 5:
        theirs.save_pretrained(folder)
    else:
        write(folder, added_tokens=theirs.get_added_vocab())
        decoder = {
            str(number): {name: getattr(token, name) for name in (*FLAGS, "special", "content")}
            for number, token in theirs.added_tokens_decoder.items()
        }
        config = configured(added_tokens_decoder=decoder)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    found = read(folder, ROWS + 3)
    assert [token.content for token in found.spec.added_tokens][2:] == [
        *("<cat-toy>", "<cat-toy>-1", "sks"),
    ]
    texts = [*ODD_TEXTS, "a <cat-toy> <CAT-TOY>a<cat-toy>-1 sks asks"]
    settings = {"padding": "max_length", "max_length": 77, "truncation": True}
    with pytest.warns(UserWarning, match="cut off"):
        np.testing.assert_array_equal(
            ours(folder, found, texts), theirs(texts, **settings).input_ids
        )


def test_an_older_pattern_of_words_is_read(tmp_path: Path) -> None:
    content = saved(tmp_path / "first")
    split, letters = content["pre_tokenizer"]["pretokenizers"]
    split["pattern"]["Regex"] = split["pattern"]["Regex"].removeprefix(
        r"<\|startoftext\|>|<\|endoftext\|>|"
    )
    del letters["use_regex"], content["model"]["byte_fallback"], content["model"]["ignore_merges"]
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    plain = read(write(tmp_path / "plain"))
    assert read(write(tmp_path / "older", tokenizer=content)) == plain


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("normalizer", {"type": "NFC"}, r'normalizer is {"type": "NFC"}, but transformers takes'),
        ("normalizer", None, r"normalizer is null, but transformers takes"),
        ("pre_tokenizer", None, r"pre_tokenizer is null, but transformers takes"),
        ("post_processor", None, r"a with its post_processor is {.*}, but transformers takes"),
    ],
)
def test_a_section_that_transformers_drops_is_refused(
    tmp_path: Path, section: str, value: object, message: str
) -> None:
    content = {**saved(tmp_path / "first"), section: value}
    with pytest.raises(CheckpointError, match=rf"tokenizer.json cannot be exported: {message}"):
        read(write(tmp_path / "second", tokenizer=content))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout", 0.5),
        ("unk_token", "!"),
        ("end_of_word_suffix", "@@"),
        ("fuse_unk", True),
        ("byte_fallback", True),
        ("ignore_merges", True),
    ],
)
def test_a_setting_of_the_model_that_transformers_drops_is_refused(
    tmp_path: Path, name: str, value: object
) -> None:
    content = saved(tmp_path / "first")
    content["model"][name] = value
    with pytest.raises(CheckpointError, match=rf"model.{name} is .*, but transformers takes"):
        read(write(tmp_path / "second", tokenizer=content))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config": configured(do_lower_case=False)}, "do_lower_case is False; only"),
        ({"tokenizer_config": configured(strip_accents=True)}, "strip_accents is True, and this"),
        ({"tokenizer_config": configured(add_prefix_space=True)}, "add_prefix_space is True; only"),
        (
            {"tokenizer_config": configured(tokenizer_class="GPT2Tokenizer")},
            "tokenizer_class is 'GPT2Tokenizer', expected CLIPTokenizer or CLIPTokenizerFast",
        ),
        (
            {"tokenizer_config": configured(pad_token=None), "special_tokens_map": {}},
            "it has no pad_token",
        ),
        ({"vocab": {"a": "0"}}, "vocab.json: 'a' is '0', expected its id, from 0"),
        ({"vocab": {"a": 0, "a</w>": 1}}, "transformers cannot use this tokenizer: "),
    ],
)
def test_what_cannot_be_exported_is_named(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(write(tmp_path, **files))


def test_a_token_without_a_row_is_refused_with_both_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path, added_tokens={"<x>": ROWS})
    with pytest.raises(CheckpointError, match=rf"{ROWS + 1} tokens, .* encoder knows {ROWS}"):
        read(folder)
    assert read(folder, ROWS + 1).spec.added_tokens[-1].content == "<x>"
