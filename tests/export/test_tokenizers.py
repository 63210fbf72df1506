"""A checkpoint's tokenizer is the one that transformers reads from it, or it is refused."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tokenizers
from fidelity import compare, load_diffusers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken, BertTokenizerFast

from tests.checkpoints import make_saved
from tests.runtime.tiny_bundle import added_token
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.checkpoint.tokenizers.description import DescribedTokenizer, blaming, read_tokenizer
from trt_export.checkpoint.tokenizers.files import MAX_FILE_BYTES
from trt_export.checkpoint.tokenizers.proof import check_ids
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.networks.description import describe
from trt_pipeline import trt_pipeline
from trt_pipeline.bundle.tokenizer_specs import TokenizerSpec, WordPieceSpec
from trt_pipeline.errors import CheckpointError
from trt_pipeline.text.tokenizer import Tokenizer

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "<", "x", ">", "##s", "e")
ROWS = 20
X = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
"""Flags of a token."""


def read(folder: Path, rows: int = ROWS) -> DescribedTokenizer:
    return read_tokenizer("wordpiece", {path.name: path for path in folder.iterdir()}, 77, rows)


def write(folder: Path, words: tuple[str, ...] = WORDS, **files: object) -> Path:
    """A folder with a vocab.txt and these JSON files; json stands for .json."""
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def backend() -> dict[str, Any]:
    """What tokenizer.json says."""
    with TemporaryDirectory() as place:
        folder = write(Path(place))
        text = BertTokenizerFast.from_pretrained(folder).backend_tokenizer.to_str()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def bert_spec(found: DescribedTokenizer) -> WordPieceSpec:
    assert isinstance(found.spec, WordPieceSpec)
    return found.spec


def added(spec: TokenizerSpec) -> dict[str, int]:
    """What was added to WORDS."""
    return {token.content: token.id for token in spec.added_tokens if token.id >= len(WORDS)}


def test_a_vocabulary_alone_is_read_as_bert_s(tmp_path: Path) -> None:
    found = read(write(tmp_path))
    assert found.contents == {"tokenizer/vocab.txt": "\n".join(WORDS) + "\n"}
    spec = bert_spec(found)
    assert (spec.start_id, spec.end_id, spec.pad_id, spec.unk_id) == (2, 3, 0, 1)
    assert (spec.padding_side, spec.truncation_side) == ("right", "right")
    assert (spec.lowercase, spec.strip_accents, spec.clean_text) == (True, None, True)
    assert [token.content for token in spec.added_tokens] == [*WORDS[:5]]


def test_tokenizer_json_alone_says_the_same(tmp_path: Path) -> None:
    expected = read(write(tmp_path))
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer.json").write_text(json.dumps(backend()))
    assert read(tmp_path) == expected


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        ({"do_lower_case": False}, {"lowercase": False}),
        ({"strip_accents": False}, {"strip_accents": False}),
        ({"tokenize_chinese_chars": False}, {"tokenize_chinese_chars": False}),
        ({"padding_side": "left"}, {"padding_side": "left"}),
        ({"truncation_side": "left"}, {"truncation_side": "left"}),
        ({"cls_token": "[SEP]", "sep_token": "[CLS]"}, {"start_id": 3, "end_id": 2}),
        ({"model_max_length": 5, "name_or_path": "x", "model_input_names": ["input_ids"]}, {}),
        ({"tokenizer_file": "/elsewhere", "vocab_file": "/elsewhere"}, {}),
        ({"do_basic_tokenize": True, "never_split": None, "add_prefix_space": False}, {}),
    ],
)
def test_a_setting_is_honoured_or_changes_nothing(
    tmp_path: Path, config: dict[str, Any], changed: dict[str, Any]
) -> None:
    expected = replace(read(write(tmp_path)).spec, **changed)
    assert read(write(tmp_path, tokenizer_config=config)).spec == expected


def test_special_tokens_may_be_other_ones(tmp_path: Path) -> None:
    names = {"pad_token": "a", "unk_token": "red", "cls_token": "<x>", "sep_token": "x"}
    spec = read(write(tmp_path, tokenizer_config=names)).spec
    assert (spec.start_id, spec.end_id, spec.pad_id, spec.unk_id) == (12, 8, 5, 6)
    assert [token.content for token in spec.added_tokens] == ["[MASK]", "a", "red", "x", "<x>"]


def test_sides_may_stand_in_tokenizer_json(tmp_path: Path) -> None:
    sides = {
        "truncation": {
            "direction": "Left",
            "max_length": 9,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 9},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    }
    spec = read(write(tmp_path, tokenizer={**backend(), **sides})).spec
    assert (spec.padding_side, spec.truncation_side) == ("left", "left")


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"<x>": 12}},
        {"tokenizer_config": {"added_tokens_decoder": {"12": {"content": "<x>", **X}}}},
        {"tokenizer_config": {"extra_special_tokens": ["<x>"]}},
        {"tokenizer_config": {"additional_special_tokens": ["<x>"]}},
        {"special_tokens_map": {"additional_special_tokens": ["<x>"]}},
        {"special_tokens_map": {"bos_token": {"content": "<x>", **X}}},
    ],
)
def test_added_tokens_are_found_in_every_file_that_may_have_them(
    tmp_path: Path, files: dict[str, Any]
) -> None:
    assert added(read(write(tmp_path, **files)).spec) == {"<x>": 12}


def test_added_tokens_are_found_in_tokenizer_json(tmp_path: Path) -> None:
    saved = backend()
    saved["added_tokens"].append({"id": 12, "content": "<x>", **X, "lstrip": True})
    spec = read(write(tmp_path, tokenizer=saved)).spec
    assert spec.added_tokens[-1] == added_token("<x>", 12, lstrip=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_map", {"AutoTokenizer": ["tokenizer.Tokenizer", None]}),
        ("vocab", "/etc/passwd"),
        ("fast_tokenizer_files", ["tokenizer.5.0.json"]),
        ("image_token", "<x>"),
        ("dropout", 0.1),
    ],
)
def test_a_setting_that_nobody_knows_is_refused_by_name(
    tmp_path: Path, name: str, value: object
) -> None:
    with pytest.raises(CheckpointError, match=rf"tokenizer_config.json: {name} is .* not know"):
        read(write(tmp_path, tokenizer_config={name: value}))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tokenizer_class", "CLIPTokenizer", "BertTokenizer or BertTokenizerFast"),
        ("do_lower_case", "yes", "true or false"),
        ("padding_side", "middle", "left or right"),
        ("never_split", ["red"], "only None or .* can be exported"),
        ("do_basic_tokenize", False, "only True can be exported"),
        ("split_special_tokens", True, "only False can be exported"),
        ("add_eos_token", True, "only False or None can be exported"),
        ("init_inputs", ["a"], "only .* can be exported"),
    ],
)
def test_a_value_that_cannot_be_exported_is_named(
    tmp_path: Path, name: str, value: object, expected: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"{name} is .*{expected}"):
        read(write(tmp_path, tokenizer_config={name: value}))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"special_tokens_map": {"red_token": "a"}}, "special_tokens_map.json: red_token is 'a'"),
        ({"added_tokens": {"<x>": "12"}}, "added_tokens.json: '<x>' is '12', expected its id"),
        ({"added_tokens": {"<x>": -1}}, "added_tokens.json: '<x>' is -1, expected its id, from 0"),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"12": {"content": "<x>", "hidden": 1}}}},
            "hidden is 1, and this exporter does not know",
        ),
        (
            {"tokenizer_config": {"mask_token": {"content": "[MASK]"}}},
            "transformers cannot use this tokenizer: ",
        ),
        ({"tokenizer_config": {"pad_token": None}}, "it has no pad_token"),
        ({"tokenizer_config": {"unk_token": "<x>"}}, "lacks the unk_token '<x>'"),
        ({"added_tokens": {" ": 12}}, "the added token ' ' is nothing but white space"),
        ({"added_tokens": {"<X>": 12, "<x>": 13}}, "are both '<x>' once normalized"),
        ({"added_tokens": {"x" * 129: 12}}, "content has 129 characters, expected 1 to 128"),
        ({"tokenizer": {}}, "tokenizer.json has no added_tokens. Save the tokenizer again"),
        ({"tokenizer": {"added_tokens": []}}, "tokenizer.json has no model. Save"),
        ({"tokenizer": {**backend(), "hidden": 1}}, "tokenizer.json: hidden is 1"),
        ({"tokenizer": []}, "tokenizer.json does not hold a JSON object"),
    ],
)
def test_what_cannot_be_exported_is_named(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(write(tmp_path, **files))


@pytest.mark.parametrize(
    ("token", "number", "message"),
    [
        ("b\nc", 12, r"the token 'b\\nc' with id 12 has a line break"),
        ("b", 6, "both have id 6"),
        ("b", 4 * 10**9, "it has 4000000001 tokens, .* but the text encoder knows 20"),
        ("b", -1, "transformers cannot use this tokenizer"),
    ],
)
def test_a_vocabulary_that_a_bundle_cannot_hold_is_refused(
    tmp_path: Path, token: str, number: int, message: str
) -> None:
    saved = backend()
    saved["model"]["vocab"][token] = number
    with pytest.raises(CheckpointError, match=message):
        read(write(tmp_path, tokenizer=saved))


def test_ids_without_a_token_stay_without_one(tmp_path: Path) -> None:
    found = read(write(tmp_path, (*WORDS, "red")))
    assert found.contents["tokenizer/vocab.txt"].splitlines()[5:8] == [
        "a",
        "[no token has id 6]",
        "<",
    ]
    found.write(tmp_path)
    assert Tokenizer(tmp_path, found.spec).encode(["red"])[0, 1] == 12


def test_a_token_without_a_row_is_refused_with_both_numbers(tmp_path: Path) -> None:
    write(tmp_path, added_tokens={"<x>": 12})
    with pytest.raises(
        CheckpointError, match=r"13 tokens, the last of which is '<x>', .* knows 12"
    ):
        read(tmp_path, rows=12)
    assert added(read(tmp_path, rows=13).spec) == {"<x>": 12}


def test_a_difference_from_transformers_is_found(tmp_path: Path) -> None:
    theirs = BertTokenizerFast.from_pretrained(write(tmp_path, added_tokens={"<x>": 12}))
    found = read(tmp_path)
    found.write(tmp_path)
    check_ids(tmp_path, found.spec, theirs)
    for wrong in (
        {"lowercase": False},
        {"padding_side": "left"},
        {"truncation_side": "left"},
        {"added_tokens": found.spec.added_tokens[:-1]},
        {"added_tokens": (*found.spec.added_tokens[:-1], added_token("<x>", 12))},
    ):
        with pytest.raises(CheckpointError, match=r"differs from transformers': token .* expected"):
            check_ids(tmp_path, replace(found.spec, **wrong), theirs)


def test_a_panic_of_rust_is_an_error_and_an_interrupt_is_not(tmp_path: Path) -> None:
    engine = tokenizers.Tokenizer(tokenizers.models.WordPiece({"a": 0}, unk_token="a"))
    blank = tokenizers.AddedToken(" ", lstrip=True)
    engine.add_tokens([tokenizers.AddedToken("a", rstrip=True), blank])
    refused = pytest.raises(CheckpointError, match=r"cannot use this tokenizer: .*bad split")
    with refused, blaming(tmp_path / "vocab.txt", tmp_path):
        engine.encode("a  b")
    with pytest.raises(KeyboardInterrupt), blaming(tmp_path, tmp_path):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["tokenizer.json", "added_tokens.json"])
def test_a_file_of_gigabytes_is_refused(tmp_path: Path, name: str) -> None:
    with (write(tmp_path) / name).open("wb") as stream:
        stream.truncate(8 * 2**30)
    with pytest.raises(CheckpointError, match=rf"{name} is larger than {MAX_FILE_BYTES} bytes"):
        read(tmp_path)


def test_a_vocabulary_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (write(tmp_path) / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"vocab.txt cannot be read as a vocabulary"):
        read(tmp_path)


def unclear(theirs: Any) -> bool:
    """Whether an added token is white space, or two are one once normalized."""
    normalize = theirs.backend_tokenizer.normalizer.normalize_str
    forms = [
        (token.normalized, normalize(token.content) if token.normalized else token.content)
        for token in theirs.added_tokens_decoder.values()
    ]
    return len({*forms}) < len(forms) or any(not form.strip() for _, form in forms)


FLAGS = st.fixed_dictionaries(
    dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), st.booleans())
)
PIECES = st.sampled_from(
    [*"aAxesbéÉ北京<>_!1", " ", "\t", "\u3000", "\u0301", "\u200b", "red", "<x>", "[MASK]", "İ"]
)
TOKENS = st.lists(PIECES, min_size=1, max_size=3).map("".join)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    tokens=st.dictionaries(TOKENS, FLAGS, max_size=5),
    texts=st.lists(st.lists(PIECES | TOKENS, max_size=30).map("".join), min_size=1, max_size=5),
    config=st.fixed_dictionaries(
        {},
        optional={
            "do_lower_case": st.booleans(),
            "strip_accents": st.none() | st.booleans(),
            "tokenize_chinese_chars": st.booleans(),
            "padding_side": st.sampled_from(["left", "right"]),
            "truncation_side": st.sampled_from(["left", "right"]),
        },
    ),
)
@pytest.mark.filterwarnings("ignore::trt_pipeline.PromptTruncatedWarning")
def test_any_added_tokens_give_transformers_ids_or_are_refused(
    tokens: dict[str, dict[str, bool]], texts: list[str], config: dict[str, Any]
) -> None:
    with TemporaryDirectory() as place:
        folder = write(Path(place), tokenizer_config=config)
        theirs = BertTokenizerFast.from_pretrained(folder)
        theirs.add_tokens([AddedToken(content, **flags) for content, flags in tokens.items()])
        (folder / "vocab.txt").unlink()
        theirs.save_pretrained(folder)
        files = {path.name: path for path in folder.iterdir()}
        if unclear(theirs):
            with pytest.raises(CheckpointError, match=r"white space|once normalized"):
                read_tokenizer("wordpiece", files, 12, ROWS)
            return
        found = read_tokenizer("wordpiece", files, 12, ROWS)
        found.write(folder)
        call = {"padding": "max_length", "max_length": 12, "truncation": True}
        expected = np.asarray(theirs(texts, **call).input_ids)
        np.testing.assert_array_equal(Tokenizer(folder, found.spec).encode(texts), expected)


def test_a_checkpoint_without_a_vocabulary_names_what_it_lacks(tmp_path: Path) -> None:
    folder = make_saved(tmp_path / "checkpoint")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has neither tokenizer.json nor vocab.txt"):
        describe(open_checkpoint(str(folder)))
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer" / "tokenizer.model").touch()
    with pytest.raises(CheckpointError, match=r"tokenizer.model is another vocabulary than"):
        describe(open_checkpoint(str(folder)))


def test_what_transformers_4_and_5_save_is_described_alike(tmp_path: Path) -> None:
    new = make_saved(tmp_path / "new")
    assert [path.name for path in (new / "tokenizer").iterdir()] == [
        *("tokenizer.json", "tokenizer_config.json"),
    ]
    old = make_saved(tmp_path / "old")
    as_transformers_4(old / "tokenizer")
    first, second = (describe(open_checkpoint(str(folder))) for folder in (new, old))
    assert first.tokenizer == second.tokenizer


def as_transformers_4(folder: Path) -> None:
    """Write the tokenizer's files as transformers 4 does: no tokenizer.json."""
    saved = json.loads((folder / "tokenizer.json").read_text())
    ids: dict[str, int] = saved["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(ids, key=ids.__getitem__)) + "\n")
    decoder = {str(token.pop("id")): token for token in saved["added_tokens"]}
    config = json.loads((folder / "tokenizer_config.json").read_text())
    text = json.dumps({**config, "added_tokens_decoder": decoder})
    (folder / "tokenizer_config.json").write_text(text)


@pytest.mark.filterwarnings("ignore::trt_pipeline.PromptTruncatedWarning")
def test_a_checkpoint_that_today_s_libraries_saved_draws_diffusers_picture(tmp_path: Path) -> None:
    """With tokens of textual inversion, other special tokens, and prompts padded and cut on the
    left."""
    checkpoint, out = make_saved(tmp_path / "checkpoint"), tmp_path / "bundle"
    bundle = export_checkpoint(open_checkpoint(str(checkpoint)), out, ExportOptions("fp32")).bundle
    assert {name for name in bundle.provenance["files"] if "tokenizer" in name} == {
        *("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
    }
    prompts = ["a <cat-toy> on sks", "sks " + "a red circle " * 30 + "<CAT-TOY>"]
    theirs = load_diffusers(checkpoint, rounded=False)
    call: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 6.0}
    with trt_pipeline(out, backend="onnxruntime") as ours:
        found = compare(theirs, ours, prompts, 0, **call)
        plain = compare(theirs, lambda _, **rest: ours(["a", "a"], **rest), prompts, 0, **call)
    assert (found.within_one >= 0.999, found.largest <= 2) == (True, True)
    assert plain.within_one < 0.9
