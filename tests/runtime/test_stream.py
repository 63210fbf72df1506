"""What a caller sees and does while a call runs."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import (
    Bundle,
    GenerationCancelledError,
    InvalidInputError,
    Pipeline,
    PipelineOutput,
    Step,
    UnknownArgumentError,
    trt_pipeline,
)

QUICK: dict[str, Any] = {"num_inference_steps": 4, "seed": 0}


def test_a_stream_yields_each_step_and_then_the_pictures(pipe: Pipeline) -> None:
    *steps, output = pipe.stream("red", **QUICK)
    assert isinstance(output, PipelineOutput)
    assert [step.index for step in steps if isinstance(step, Step)] == [0, 1, 2, 3]
    assert [step.timestep for step in steps if isinstance(step, Step)] == [750, 500, 250, 0]
    expected = pipe("red", progress_bar=False, **QUICK).images[0]
    np.testing.assert_array_equal(np.asarray(output.images[0]), np.asarray(expected))


def test_a_preview_is_the_picture_in_small(pipe: Pipeline) -> None:
    *steps, output = pipe.stream("red", **QUICK)
    assert isinstance(steps[-1], Step)
    (preview,) = steps[-1].preview()
    assert preview.size == (8, 8)
    assert isinstance(output, PipelineOutput)
    picture = np.asarray(output.images[0])[::8, ::8].astype(int)
    assert abs(np.asarray(preview) - picture).max() <= 64 + 1


def test_closing_a_stream_ends_the_call(pipe: Pipeline) -> None:
    stream = pipe.stream("red", **QUICK)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == []


def test_a_stream_refuses_unknown_arguments(pipe: Pipeline) -> None:
    with pytest.raises(UnknownArgumentError, match="did you mean guidance_scale"):
        next(pipe.stream("red", guidance_scal=2))  # type: ignore[call-arg]


def test_the_callback_sees_what_diffusers_gives_it(pipe: Pipeline) -> None:
    seen: list[tuple[int, float, tuple[int, ...]]] = []

    def callback(
        pipeline: Pipeline, step: int, timestep: float, tensors: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        assert pipeline is pipe
        seen.append((step, timestep, tensors["latents"].shape))
        return tensors

    pipe("red", callback_on_step_end=callback, progress_bar=False, **QUICK)
    assert seen == [(i, 750 - 250 * i, (1, 4, 8, 8)) for i in range(4)]


def test_the_callback_may_replace_the_latents(pipe: Pipeline) -> None:
    def black(_: Any, step: int, __: float, tensors: dict[str, Any]) -> dict[str, Any] | None:
        return {"latents": tensors["latents"] * 0 - 1} if step == 3 else None

    image = pipe("red", callback_on_step_end=black, progress_bar=False, **QUICK).images[0]
    assert np.asarray(image).max() == 0


def test_a_callback_s_bad_latents_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(InvalidInputError, match="latents hold numbers that are NaN"):
        pipe(
            "red",
            callback_on_step_end=lambda *_: {"latents": np.full((1, 4, 8, 8), np.nan)},
            progress_bar=False,
            **QUICK,
        )


def test_a_callback_s_other_keys_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(InvalidInputError, match="may replace latents only, but returned 'latent'"):
        pipe(
            "red",
            callback_on_step_end=lambda *_: {"latent": np.zeros((1, 4, 8, 8))},
            progress_bar=False,
            **QUICK,
        )


def test_a_callback_s_exception_ends_the_call(pipe: Pipeline) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pipe("red", callback_on_step_end=fail, progress_bar=False, **QUICK)


def test_a_set_token_ends_the_call_before_its_next_step(pipe: Pipeline) -> None:
    token = threading.Event()
    steps = pipe.stream("red", cancel=token, **QUICK)
    next(steps)
    token.set()
    with pytest.raises(GenerationCancelledError, match="cancelled after step 1 of 4"):
        next(steps)
    with pytest.raises(GenerationCancelledError, match="cancelled before the first step"):
        pipe("red", cancel=token, progress_bar=False, **QUICK)


def test_a_stream_s_arguments_are_checked_at_once(pipe: Pipeline) -> None:
    with pytest.raises(InvalidInputError, match="eta must be"):
        pipe.stream("red", eta=2)


@pytest.mark.parametrize("answer", [5, True, "latents", [1]])
def test_a_callback_s_answer_of_another_kind_is_refused(pipe: Pipeline, answer: object) -> None:
    with pytest.raises(InvalidInputError, match="callback_on_step_end must return a dictionary"):
        pipe("red", callback_on_step_end=lambda *_: answer, progress_bar=False, **QUICK)


def test_a_safety_checker_of_another_kind_is_refused(bundle: Bundle) -> None:
    expected = r'safety_checker must be a function or "bundle", got 5'
    with pytest.raises(InvalidInputError, match=expected):
        trt_pipeline(bundle, safety_checker=5)  # type: ignore[arg-type]
    with (
        trt_pipeline(bundle, threads=1, safety_checker=lambda _: None) as pipe,  # type: ignore[arg-type, return-value]
        pytest.raises(InvalidInputError, match=r"safety_checker must return a list .* got None"),
    ):
        pipe("red", progress_bar=False, **QUICK)


def test_a_pair_as_diffusers_checkers_return_is_refused(bundle: Bundle) -> None:
    def checker(images: Sequence[Image.Image]) -> Any:
        return images, [False] * len(images)

    with (
        trt_pipeline(bundle, threads=1, safety_checker=checker) as pipe,
        pytest.raises(InvalidInputError, match="with True or False for each image"),
    ):
        pipe(["red", "blue"], **QUICK)


def test_what_the_safety_checker_refuses_is_blackened(bundle: Bundle) -> None:
    def checker(images: list[Image.Image]) -> list[bool]:
        return [number == 1 for number, _ in enumerate(images)]

    with trt_pipeline(bundle, threads=1, safety_checker=checker) as pipe:
        output = pipe(["red", "blue"], progress_bar=False, **QUICK)
        assert output.nsfw_content_detected == (False, True)
        assert [np.asarray(image).any() for image in output.images] == [True, False]
        with pytest.raises(InvalidInputError, match="would go around the safety checker"):
            pipe("red", output_type="latent", progress_bar=False, **QUICK)


def test_a_safety_checker_must_answer_for_every_image(bundle: Bundle) -> None:
    with (
        trt_pipeline(bundle, threads=1, safety_checker=lambda _: []) as pipe,
        pytest.raises(InvalidInputError, match="gave 0 answers for 1 image"),
    ):
        pipe("red", progress_bar=False, **QUICK)


def test_tiles_bound_the_decoder_without_changing_a_local_one(pipe: Pipeline) -> None:
    size: dict[str, Any] = {"height": 96, "width": 128, "progress_bar": False, **QUICK}
    whole, tiled = (pipe("red", **size, vae_tile_size=tile).images[0] for tile in (None, 64))
    np.testing.assert_array_equal(np.asarray(whole), np.asarray(tiled))
    with pytest.raises(
        InvalidInputError, match="vae_tile_size must be a multiple of 8, and at least 64, got 70"
    ):
        pipe("red", vae_tile_size=70, **QUICK)
