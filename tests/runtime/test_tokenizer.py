import random
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trt_pipeline import Bundle, BundleError, Pipeline, PromptTruncatedWarning
from trt_pipeline.bundle.manifest import TokenizerSpec
from trt_pipeline.text.tokenizer import Tokenizer, read_vocabulary

PUBLISHED = "export/trt_export/checkpoint/published/ldm_text2im_large_256"
REAL = Path(__file__).parents[2] / PUBLISHED / "tokenizer"
UNCASED = TokenizerSpec("wordpiece", {"vocab": "vocab.txt"}, 77, True, None, True)

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


def test_a_vocabulary_without_special_tokens_is_refused(own_bundle: Bundle) -> None:
    vocab = own_bundle.path / "vocab.txt"
    vocab.write_text("[PAD]\na\n")
    with pytest.raises(BundleError, match=r"lacks \[UNK\], \[CLS\], \[SEP\], \[MASK\]"):
        read_vocabulary(vocab)


def test_a_vocabulary_that_is_no_text_is_refused(own_bundle: Bundle) -> None:
    vocab = own_bundle.path / "vocab.txt"
    vocab.write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="cannot be read as a vocabulary"):
        read_vocabulary(vocab)
