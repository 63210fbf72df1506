"""The golden files are what this runtime gives; the C++ tests read the same ones."""

import json
import math
from typing import Any

import pytest

from tests.golden import make_byte_pair, make_golden

FLOAT32_STEPS = 4 * 2.0**-23
"""NumPy's logarithms and cosines differ in their last bits from one processor to another."""


def golden(name: str) -> Any:
    return json.loads((make_golden.HERE / name).read_text(encoding="utf-8"))


def same(made: Any, kept: Any) -> bool:
    """Equal, but for the last bits of numbers that are no integers."""
    if isinstance(made, float) and isinstance(kept, float):
        return math.isclose(made, kept, rel_tol=FLOAT32_STEPS, abs_tol=4e-7)
    if isinstance(made, dict) and isinstance(kept, dict):
        return made.keys() == kept.keys() and all(same(made[name], kept[name]) for name in made)
    if isinstance(made, list) and isinstance(kept, list):
        return len(made) == len(kept) and all(map(same, made, kept))
    return bool(made == kept)


def plain(document: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(document))


def test_the_vocabulary_is_current() -> None:
    assert make_golden.VOCABULARY.read_text(encoding="utf-8") == make_golden.vocabulary()


def test_the_tokenizer_gives_the_golden_ids() -> None:
    kept = golden("tokenizer.json")
    assert kept["texts"] == list(make_golden.TEXTS)
    assert kept["cases"] == plain(list(make_golden.tokenizer_cases()))


def test_byte_pairs_give_the_golden_ids() -> None:
    texts = ((make_byte_pair.FOLDER / f"{name}.txt").read_text() for name in ("vocab", "merges"))
    assert tuple(texts) == make_byte_pair.vocabulary()
    kept = golden("byte_pair.json")
    assert kept["texts"] == list(make_byte_pair.CLIP_TEXTS)
    assert kept["cases"] == plain(list(make_byte_pair.cases()))


@pytest.mark.slow
def test_every_character_of_unicode_is_treated_as_the_golden_file_says() -> None:
    assert golden("characters.json") == make_golden.character_digests()
    assert golden("byte_pair.json")["characters"] == make_byte_pair.character_digests()


def test_the_streams_give_the_golden_noise() -> None:
    assert same(plain(make_golden.noise()), golden("noise.json"))


def test_the_samplers_give_the_golden_tables() -> None:
    assert same(plain(list(make_golden.sampler_cases())), golden("samplers.json")["cases"])


def test_guidance_gives_the_golden_matrices() -> None:
    assert same(plain(make_golden.guidance()), golden("guidance.json"))


def test_inpainting_gives_the_golden_pictures() -> None:
    assert same(plain(make_golden.inpainting()), golden("inpainting.json"))


def test_tiles_give_the_golden_pixels() -> None:
    assert plain(make_golden.tiling()) == golden("tiling.json")


def test_latents_give_the_golden_previews() -> None:
    assert plain(make_golden.previews()) == golden("previews.json")


def test_manifests_are_read_or_refused_as_the_golden_file_says() -> None:
    kept = golden("manifest.json")
    assert kept["manifest"] == make_golden.manifest()
    assert kept["cases"] == plain(list(make_golden.manifest_cases()))


def test_onnx_files_name_the_golden_locations() -> None:
    assert make_golden.onnx_files() == golden("onnx_files.json")


def test_signatures_are_trusted_or_refused_as_the_golden_file_says() -> None:
    assert make_golden.signatures() == golden("signatures.json")
