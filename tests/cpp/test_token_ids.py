"""CLIP's token ids of C++ are those of transformers, for odd texts."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.cpp.build import Build, call
from tests.cpp.test_cpp import without_sanitizers
from tests.odd_texts import clip_ids, odd_texts, write_with_added_tokens
from trt_export.checkpoint.tokenizers.clip_vocabulary import END
from trt_export.checkpoint.tokenizers.description import read_tokenizer

pytestmark = pytest.mark.slow  # the build takes minutes


@without_sanitizers
@pytest.mark.parametrize("pad_token", [END, "!"])
def test_odd_texts_have_transformers_ids(build: Build, tmp_path: Path, pad_token: str) -> None:
    theirs, files = write_with_added_tokens(tmp_path / "saved", pad_token)
    found = read_tokenizer("byte_pair", files, 77, 60_000)
    found.write(tmp_path)
    texts = odd_texts(10_000)
    given = tmp_path / "texts.json"
    given.write_text(json.dumps({"tokenizer": asdict(found.spec), "texts": texts}))
    printed = call(build.folder / "tests" / "token_ids", tmp_path, given)
    np.testing.assert_array_equal(json.loads(printed), clip_ids(theirs, texts))
