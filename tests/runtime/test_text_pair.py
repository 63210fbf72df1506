"""Two text encoders, whose pooled text joins the time embedding with sizes, as in SDXL."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import BundleError, InvalidInputError, Pipeline, SeedNoise, trt_pipeline
from trt_pipeline.bundle.capabilities import check_graphs, sees_sizes
from trt_pipeline.sampling.samplers import ddim
from trt_pipeline.sampling.samples import Sample

from .tiny_bundle import EMBEDDING, write_pair_bundle, write_tiny_bundle

QUICK: dict[str, Any] = {"num_inference_steps": 3, "seed": 0, "progress_bar": False}
FULL = (64, 64, 0, 0, 64, 64)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def pipe(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Pipeline]:
    bundle = write_pair_bundle(
        tmp_path_factory.mktemp("bundles") / "pair", zeros_for_empty_prompt=True
    )
    with trt_pipeline(bundle, backend=request.param, threads=1) as pipeline:
        yield pipeline


def latents(pipe: Pipeline, prompt: Any = "red", **settings: Any) -> NDArray[np.float32]:
    images = pipe(prompt, output_type="latent", **{**QUICK, **settings}).images
    assert isinstance(images, np.ndarray)
    return images


def ids(tokens: Sequence[int], padding: int) -> NDArray[np.int64]:
    found = np.full(77, padding)
    found[: len(tokens)] = tokens
    return found


RED, EMPTY = [2, 6, 3], [2, 3]
"""[CLS] red [SEP], and nothing between the two."""


def seen(tokens: Sequence[int] | None, sizes: Sequence[int] = FULL) -> float:
    """What a row's output has besides half its latents, at timestep 0; None for zeros."""
    numbered = sum(number * size for number, size in enumerate(sizes, 1)) / 1000
    if tokens is None:
        return numbered
    words, words_2 = (EMBEDDING[ids(tokens, padding)].mean() for padding in (0, 4))
    return float(words + words_2 / 10 + numbered)


def expected(pipe: Pipeline, features: float) -> NDArray[np.float32]:
    table = ddim(pipe.bundle.schedule, 3)
    x = SeedNoise(0).draw((1, 4, 8, 8))
    for t, (_, _, a, b0, *_) in zip(table.timesteps, table.coefficients, strict=True):
        x = a * x + b0 * (x / 2 + features + t / 1000)
    return x


def assert_close(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_each_tokenizer_pads_as_its_own_encoder_expects(pipe: Pipeline) -> None:
    assert_close(latents(pipe), expected(pipe, seen(RED)))


def test_a_negative_prompt_that_is_not_given_is_zeros(pipe: Pipeline) -> None:
    features = 3 * seen(RED) - 2 * seen(None)
    assert_close(latents(pipe, guidance_scale=3), expected(pipe, features))


def test_an_empty_negative_prompt_is_the_empty_text(pipe: Pipeline) -> None:
    features = 3 * seen(RED) - 2 * seen(EMPTY)
    assert_close(latents(pipe, guidance_scale=3, negative_prompt=""), expected(pipe, features))


def test_without_zeros_both_are_the_empty_text(tmp_path: Path) -> None:
    bundle = write_pair_bundle(tmp_path / "pair")
    with trt_pipeline(bundle, backend="onnxruntime", threads=1) as pipe:
        given = latents(pipe, guidance_scale=3, negative_prompt="")
        np.testing.assert_array_equal(latents(pipe, guidance_scale=3), given)


def test_sizes_are_those_of_the_picture_by_default(pipe: Pipeline) -> None:
    given = {"original_size": (32, 96), "crops_coords_top_left": (0, 0), "target_size": (32, 96)}
    found = latents(pipe, height=32, width=96)
    np.testing.assert_array_equal(found, latents(pipe, height=32, width=96, **given))


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"original_size": (512, 256)}, (512, 256, 0, 0, 64, 64)),
        ({"crops_coords_top_left": [8, 16]}, (64, 64, 8, 16, 64, 64)),
        ({"target_size": (48, 40)}, (64, 64, 0, 0, 48, 40)),
    ],
)
def test_each_size_has_its_place(
    pipe: Pipeline, settings: dict[str, Any], sizes: Sequence[int]
) -> None:
    assert_close(latents(pipe, **settings), expected(pipe, seen(RED, sizes)))


def test_the_rows_of_a_sample_have_times_of_their_own(pipe: Pipeline) -> None:
    (sample,) = pipe.start("red", guidance_scale=3, **QUICK)
    without, with_text = sample.rows[0].time_embeds[0]
    assert np.abs(without - with_text).max() > 0.01


def test_samples_with_other_texts_in_one_call_equal_lone_ones(pipe: Pipeline) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("red", {}),
        ("a blue circle", {"guidance_scale": 3, "original_size": (9, 9)}),
    ]
    together: list[Sample] = [
        sample for prompt, own in asked for sample in pipe.start(prompt, **QUICK, **own)
    ]
    while not all(sample.done for sample in together):
        pipe.step(together)
    for sample, (prompt, own) in zip(together, asked, strict=True):
        np.testing.assert_array_equal(sample.latents, latents(pipe, prompt, **own)[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [("original_size", (64, 64)), ("crops_coords_top_left", (0, 8)), ("target_size", (64, 64))],
)
def test_a_model_without_sizes_refuses_them(
    tmp_path: Path, name: str, value: tuple[int, int]
) -> None:
    with (
        trt_pipeline(write_tiny_bundle(tmp_path / "tiny"), threads=1) as pipe,
        pytest.raises(InvalidInputError, match=rf"{name} is \({value[0]}, .* nothing of sizes"),
    ):
        pipe("red", **{**QUICK, name: value})


def test_a_bundle_without_its_second_tokenizer_is_refused(pipe: Pipeline) -> None:
    assert sees_sizes(pipe.bundle)
    with pytest.raises(BundleError, match="lacks its tokenizer_2"):
        check_graphs(replace(pipe.bundle, tokenizer_2=None))


def test_a_bundle_without_a_pooled_text_is_refused(pipe: Pipeline) -> None:
    graphs = {
        name: {p: replace(form, outputs=form.outputs[:1]) for p, form in forms.items()}
        if name == "text_encoder"
        else forms
        for name, forms in pipe.bundle.graphs.items()
    }
    with pytest.raises(BundleError, match="lacks its text_embeds"):
        check_graphs(replace(pipe.bundle, graphs=graphs))
