"""CLIP's token ids are those of transformers, for odd texts and any added tokens."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken, CLIPTokenizerFast

from tests.odd_texts import ADDED_TOKENS, clip_ids, odd_texts, write_with_added_tokens
from trt_export.checkpoint.tokenizers.clip_vocabulary import END, write_clip_tokenizer
from trt_export.checkpoint.tokenizers.description import read_tokenizer
from trt_pipeline.errors import CheckpointError
from trt_pipeline.text.tokenizer import Tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::trt_pipeline.PromptTruncatedWarning")

ROWS = 60_000


@pytest.mark.parametrize("pad_token", [END, "!"])
@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_odd_texts_have_transformers_ids(tmp_path: Path, pad_token: str, count: int) -> None:
    theirs, files = write_with_added_tokens(tmp_path / "saved", pad_token)
    found = read_tokenizer("byte_pair", files, 77, ROWS)
    found.write(tmp_path)
    texts = odd_texts(count, seed=count)
    np.testing.assert_array_equal(
        Tokenizer(tmp_path, found.spec).encode(texts), clip_ids(theirs, texts)
    )


FLAGS = st.fixed_dictionaries(
    dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), st.booleans())
)
PIECES = st.sampled_from(
    [
        *"aAxesbéÉ北京<>_!1",
        " ",
        "\t",
        "\u3000",
        "\u0301",
        "\u200b",
        "in",
        "the",
        "<x>",
        END,
        "İ",
        "'s",
    ]
)
TOKENS = st.lists(PIECES, min_size=1, max_size=3).map("".join)


def unclear(theirs: CLIPTokenizerFast) -> bool:
    """Whether an added token is white space, or two are one once normalized."""
    normalize = theirs.backend_tokenizer.normalizer.normalize_str
    forms = [
        (token.normalized, normalize(token.content) if token.normalized else token.content)
        for token in theirs.added_tokens_decoder.values()
    ]
    return len({*forms}) < len(forms) or any(not form.strip() for _, form in forms)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    tokens=st.dictionaries(TOKENS, FLAGS, max_size=5),
    texts=st.lists(st.lists(PIECES | TOKENS, max_size=30).map("".join), min_size=1, max_size=5),
)
def test_any_added_tokens_give_transformers_ids_or_are_refused(
    tokens: dict[str, dict[str, bool]], texts: list[str]
) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_clip_tokenizer(folder / "plain", merges=300)
        theirs = CLIPTokenizerFast.from_pretrained(folder / "plain")
        theirs.add_tokens([AddedToken(content, **flags) for content, flags in tokens.items()])
        theirs.save_pretrained(folder / "saved")
        files = {path.name: path for path in (folder / "saved").iterdir()}
        if unclear(theirs):
            with pytest.raises(CheckpointError, match=r"white space|once normalized"):
                read_tokenizer("byte_pair", files, 12, ROWS)
            return
        found = read_tokenizer("byte_pair", files, 12, ROWS)
        found.write(folder)
        np.testing.assert_array_equal(
            Tokenizer(folder, found.spec).encode(texts), clip_ids(theirs, texts, 12)
        )


def test_odd_texts_have_all_that_is_odd() -> None:
    texts = odd_texts(1000)
    for token in ADDED_TOKENS:
        assert any(str(token) in text for text in texts)
    for piece in ("\u3000", "<|endoftext|>", "\u0301", "ΑΣ", "'re", "😀"):
        assert any(piece in text for text in texts)
