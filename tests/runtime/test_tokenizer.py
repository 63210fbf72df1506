import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.tiny_bundle import added_token, wordpiece
from trt_pipeline import Bundle, BundleError, Pipeline, PromptTruncatedWarning
from trt_pipeline.bundle.tokenizer_specs import AddedToken
from trt_pipeline.text.tokenizer import Tokenizer
from trt_pipeline.text.vocabulary import read_vocabulary

PUBLISHED = "export/trt_export/checkpoint/published/ldm_text2im_large_256"
REAL = Path(__file__).parents[2] / PUBLISHED / "tokenizer"
UNCASED = wordpiece((0, 100, 101, 102, 103))
OWN = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "toy", "<", ">")
"""A vocabulary of these tests."""

TEXTS = [
    "",
    "   ",
    "a painting of a squirrel eating a burger",
    "Ünïcödé naïve Ça İstanbul ß ﬁ",
    "日本語 漢字かな 한국어 عربى",
    "tab\tnewline\nnull\x00bell\x07nbsp\u00a0zero\u200bwidth\ufffd",
    "[SEP] literal [CLS]a[MASK] [PAD][pad] [UNK]",
    "don't-stop... (now)!",
    "😀👩‍👩‍👧 ok \U0010ffff \u202e",
    "x" * 150,
    "unbelievably " * 200,
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(REAL, UNCASED)


def random_texts(count: int) -> list[str]:
    """Mixed scripts, combining marks and unassigned characters; no surrogates."""
    pick = random.Random(0)
    ranges = [(0x20, 0x7F), (0x20, 0x250), (0x300, 0x370), (0x370, 0xD7FF), (0xE000, 0x1FFFF)]
    return [
        "".join(chr(pick.randrange(*pick.choice(ranges))) for _ in range(pick.randrange(40)))
        for _ in range(count)
    ]


def test_the_ids_frame_and_pad_the_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(["a red circle"])
    assert ids.dtype == np.int32
    assert ids.shape == (1, 77)
    assert ids[0, :6].tolist() == [101, 1037, 2417, 4418, 102, 0]
    assert not ids[0, 6:].any()


@pytest.mark.filterwarnings("ignore::trt_pipeline.PromptTruncatedWarning")
def test_the_ids_are_those_of_transformers(tokenizer: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    texts = TEXTS + random_texts(300)
    theirs = transformers.BertTokenizer.from_pretrained(REAL)
    settings = {"padding": "max_length", "max_length": 77, "truncation": True}
    expected = theirs(texts, return_tensors="np", **settings).input_ids
    np.testing.assert_array_equal(tokenizer.encode(texts), expected)


def test_a_cased_tokenizer_keeps_case_and_accents() -> None:
    transformers = pytest.importorskip("transformers")
    spec = replace(UNCASED, lowercase=False, tokenize_chinese_chars=False)
    theirs = transformers.BertTokenizer.from_pretrained(
        REAL, do_lower_case=False, tokenize_chinese_chars=False
    )
    ours = Tokenizer(REAL, spec).encode(["A Çircle 漢字"])
    assert (
        ours[0].tolist() == theirs("A Çircle 漢字", padding="max_length", max_length=77).input_ids
    )


def test_a_long_prompt_is_cut_with_a_warning_that_names_the_rest(tokenizer: Tokenizer) -> None:
    with pytest.warns(PromptTruncatedWarning, match=r"77 tokens .* cut off: 'last words'"):
        ids = tokenizer.encode(["word " * 75 + "last words"])
    assert ids[0, 75:].tolist() == [2773, 102]


def test_a_prompt_that_just_fits_is_kept_silently(tokenizer: Tokenizer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tokenizer.encode(["word " * 75])[0, 76] == 102


def test_the_warning_points_at_the_caller_of_the_pipeline(pipe: Pipeline) -> None:
    with pytest.warns(PromptTruncatedWarning) as record:
        pipe("a " * 80, num_inference_steps=1, progress_bar=False)
    assert record[0].filename == __file__


def own(folder: Path, *added: AddedToken, **changes: Any) -> Tokenizer:
    """OWN's tokenizer with more tokens added."""
    (folder / "vocab.txt").write_text("\n".join(OWN) + "\n")
    spec = wordpiece(max_length=10)
    return Tokenizer(folder, replace(spec, added_tokens=(*spec.added_tokens, *added), **changes))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Those of the text, without the frame and the padding of the right."""
    return [int(one) for one in np.trim_zeros(tokenizer.encode([text])[0], "b")[1:-1]]


def test_an_added_token_is_one_token_wherever_it_stands(tmp_path: Path) -> None:
    tokenizer = own(tmp_path, added_token("<toy>", 11, normalized=True))
    assert ids(tokenizer, "a <toy>b a<TOY>") == [5, 11, 6, 5, 11]


def test_a_token_that_is_not_normalized_is_found_as_it_is_written(tmp_path: Path) -> None:
    tokenizer = own(tmp_path, added_token("<toy>", 11))
    assert ids(tokenizer, "<toy> <TOY>") == [11, 9, 8, 10]


def test_the_longest_added_token_is_found(tmp_path: Path) -> None:
    tokenizer = own(tmp_path, added_token("toy", 8), added_token("toys", 11))
    assert ids(tokenizer, "toys atoyb") == [11, 5, 8, 6]


def test_a_single_word_is_not_found_within_one(tmp_path: Path) -> None:
    tokenizer = own(tmp_path, added_token("xx", 11, single_word=True))
    assert ids(tokenizer, "xx axx xx_ (xx)") == [11, 1, 1, 1, 1, 11, 1]


def test_a_token_takes_the_white_space_that_its_flags_name(tmp_path: Path) -> None:
    blanks = [added_token(" a", 11, normalized=True), added_token("b ", 12, normalized=True)]
    assert ids(own(tmp_path, *blanks, added_token("xx", 13)), "b xx \t a") == [12, 13, 11]
    right = own(tmp_path, *blanks, added_token("xx", 13, rstrip=True))
    assert ids(right, "b xx \t a") == [12, 13, 5]
    left = own(tmp_path, *blanks, added_token("xx", 13, lstrip=True))
    assert ids(left, "b xx \t a") == [6, 13, 11]


def test_padding_may_stand_on_the_left(tmp_path: Path) -> None:
    row = own(tmp_path, padding_side="left", pad_id=4).encode(["a ab"])[0]
    assert row.tolist() == [4, 4, 4, 4, 4, 2, 5, 5, 7, 3]


def test_a_long_prompt_may_lose_its_beginning(tmp_path: Path) -> None:
    tokenizer = own(tmp_path, truncation_side="left", max_length=5)
    with pytest.warns(PromptTruncatedWarning, match=r"5 tokens of a prompt; cut off: 'a toy '"):
        assert tokenizer.encode(["a toy b a b"])[0].tolist() == [2, 6, 5, 6, 3]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_model_of_two_tokens_reads_nothing(tmp_path: Path, side: str) -> None:
    tokenizer = own(tmp_path, truncation_side=side, max_length=2)
    with pytest.warns(PromptTruncatedWarning, match="cut off: 'a toy'"):
        assert tokenizer.encode(["a toy"])[0].tolist() == [2, 3]


def test_text_may_stay_as_it_is(tmp_path: Path) -> None:
    assert ids(own(tmp_path), "a\u200bb") == [5, 7]
    assert ids(own(tmp_path, clean_text=False), "a\u200bb") == [1]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ([added_token("<toy>", 12)], "the id of the added token '<toy>' is 12, expected 11"),
        ([added_token("toy", 11)], "the id of the added token 'toy' is 11, expected 8"),
        ([added_token("\u3000", 11)], r"'\\u3000' is nothing but white space"),
        ([added_token("\u200b", 11, normalized=True)], r"'\\u200b' is nothing but white space"),
        (
            [added_token("<Toy>", 11, normalized=True), added_token("<toy>", 12, normalized=True)],
            "'<Toy>' and '<toy>' are both '<toy>' once normalized",
        ),
    ],
)
def test_added_tokens_that_do_not_fit_the_vocabulary_are_refused(
    tmp_path: Path, added: list[AddedToken], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        own(tmp_path, *added)


@pytest.mark.parametrize("name", ["start_id", "end_id", "pad_id", "unk_id"])
def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=rf"vocab.txt: {name} is 11, expected 0 to 10"):
        own(tmp_path, **{name: 11})


def test_a_vocabulary_with_a_token_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\na\nb\na\n")
    with pytest.raises(BundleError, match=r"vocab.txt has the token 'a' twice"):
        read_vocabulary(tmp_path / "vocab.txt")


def test_a_vocabulary_that_is_no_text_is_refused(own_bundle: Bundle) -> None:
    vocab = own_bundle.path / "vocab.txt"
    vocab.write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="cannot be read as a vocabulary"):
        read_vocabulary(vocab)
