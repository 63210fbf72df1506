import copy
import inspect
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL.Image import Image

from trt_pipeline import (
    BackendError,
    Bundle,
    InvalidInputError,
    Pipeline,
    SeedNoise,
    TorchGenerator,
    UnknownArgumentError,
    trt_pipeline,
)
from trt_pipeline.bundle.manifest import Limits
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.sampling.samplers import SAMPLERS, ddim

from .tiny_bundle import EMBEDDING, write_tiny_bundle, write_unconditional_bundle

QUICK: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 6, "progress_bar": False}
NOISY: dict[str, Any] = {**QUICK, "eta": 0.5}
ROUNDING = 2e-5
"""Matrix products sum in another order when the batch has another size; three steps magnify it."""


def latents(pipe: Pipeline, prompt: Any, **settings: Any) -> NDArray[np.float32]:
    images = pipe(prompt, output_type="latent", **settings).images
    assert isinstance(images, np.ndarray)
    return images


def test_the_model_card_s_call_gives_pil_images(bundle: Bundle) -> None:
    with trt_pipeline(bundle.path, threads=1) as pipe:
        images = pipe(["a red circle"], num_inference_steps=5, eta=0.3, guidance_scale=6).images
    assert isinstance(images, list)
    assert isinstance(images[0], Image)
    assert images[0].size == (64, 64)


def test_names_order_and_defaults_are_those_of_diffusers(bundle: Bundle) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = inspect.signature(diffusers.LDMTextToImagePipeline.__call__).parameters.values()
    ours = inspect.signature(Pipeline.__call__).parameters.values()
    expected = [(p.name, p.default) for p in theirs if p.kind is not p.VAR_KEYWORD]
    own = {"num_inference_steps": 50, "guidance_scale": 1.0, "eta": 0.0}  # the tiny bundle's
    assert own == {name: getattr(bundle.defaults, name) for name in own}
    found = [(p.name, own.get(p.name, p.default)) for p in ours][: len(expected)]
    assert found == [(n, None if n == "prompt" else default) for n, default in expected]


def test_the_latents_are_those_of_the_written_formula(pipe: Pipeline) -> None:
    """The tiny model's output is x / 2 + mean(text) + mean(time); guidance mixes two of them."""
    table = ddim(pipe.bundle.schedule, 3, 0.5)
    noise = SeedNoise(0)
    x = noise.draw((1, 4, 8, 8))
    red = np.full(77, 0)
    red[:3] = 2, 6, 3
    empty = np.full(77, 0)
    empty[:2] = 2, 3
    text = -5 * EMBEDDING[empty].mean() + 6 * EMBEDDING[red].mean()
    for t, (_, _, a, b0, _, _, _, s) in zip(table.timesteps, table.coefficients, strict=True):
        x = a * x + b0 * (x / 2 + text + t / 1000) + s * noise.draw(x.shape)
    np.testing.assert_allclose(latents(pipe, "red", seed=0, **NOISY), x, rtol=1e-5, atol=1e-5)


def test_np_pixels_are_the_pil_pixels_over_255(pipe: Pipeline) -> None:
    pil = pipe("red", seed=0, **QUICK).images[0]
    pixels = pipe("red", seed=0, output_type="np", **QUICK).images
    assert isinstance(pixels, np.ndarray)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[0], np.asarray(pil, np.float32) / 255)


def test_the_output_is_an_object_and_a_tuple(pipe: Pipeline) -> None:
    images, seeds, nsfw = pipe("red", seed=5, **QUICK)
    assert len(images) == 1
    assert (seeds, nsfw) == ((5,), None)


def test_without_return_dict_the_output_is_the_tuple_that_diffusers_returns(pipe: Pipeline) -> None:
    output: tuple[Any, ...] = pipe("red", return_dict=False, **QUICK)
    assert [len(images) for images in output] == [1]


def test_a_picture_depends_on_its_own_seed_only(pipe: Pipeline) -> None:
    together = latents(pipe, ["red", "a circle", "blue"], seed=[1, 2, 3], **NOISY)
    alone = latents(pipe, "a circle", seed=2, **NOISY)
    np.testing.assert_allclose(together[1:2], alone, atol=ROUNDING)


def test_a_batch_beyond_the_limit_gives_the_same_pictures(pipe: Pipeline, tmp_path: Path) -> None:
    prompts = ["a", "red", "blue", "circle", "a red circle"]
    narrow = write_tiny_bundle(tmp_path / "b", Limits((1, 2), (32, 128), (32, 128)))
    with trt_pipeline(narrow, threads=1) as split:
        seeded = latents(split, prompts, seed=0, **NOISY)
        streamed = latents(split, prompts, generator=TorchGenerator(0), **NOISY)
    np.testing.assert_allclose(seeded, latents(pipe, prompts, seed=0, **NOISY), atol=ROUNDING)
    whole = latents(pipe, prompts, generator=TorchGenerator(0), **NOISY)
    np.testing.assert_allclose(streamed, whole, atol=ROUNDING)


def test_fresh_seeds_are_named_and_make_the_picture_again(pipe: Pipeline) -> None:
    first = pipe(["red", "blue"], output_type="latent", **NOISY)
    assert first.seeds is not None
    again = latents(pipe, ["red", "blue"], seed=first.seeds, **NOISY)
    np.testing.assert_array_equal(first.images, again)
    assert pipe("red", **QUICK).seeds != pipe("red", **QUICK).seeds


def test_zero_is_a_seed(pipe: Pipeline) -> None:
    assert pipe("red", seed=0, **QUICK).seeds == (0,)


def test_one_torch_stream_gives_the_latents_then_a_draw_a_step(pipe: Pipeline) -> None:
    stream = TorchGenerator(3)
    latents(pipe, ["red", "blue"], generator=stream, **NOISY)
    expected = TorchGenerator(3)
    for _ in range(1 + 3):
        expected.draw((2, 4, 8, 8))
    np.testing.assert_array_equal(stream.draw((16,)), expected.draw((16,)))


def test_without_eta_only_the_latents_are_drawn(pipe: Pipeline) -> None:
    stream, expected = TorchGenerator(3), TorchGenerator(3)
    latents(pipe, "red", generator=stream, **QUICK)
    expected.draw((1, 4, 8, 8))
    np.testing.assert_array_equal(stream.draw((16,)), expected.draw((16,)))


def test_a_list_of_generators_has_one_a_picture(pipe: Pipeline) -> None:
    prompts = ["red", "blue"]
    both = latents(pipe, prompts, generator=[TorchGenerator(1), TorchGenerator(2)], **NOISY)
    second = latents(pipe, "blue", generator=TorchGenerator(2), **NOISY)
    np.testing.assert_allclose(both[1:], second, atol=ROUNDING)
    assert pipe("red", generator=TorchGenerator(1), **QUICK).seeds is None


def test_given_latents_replace_the_first_draw_and_stay_unchanged(pipe: Pipeline) -> None:
    start = SeedNoise(4).draw((1, 4, 8, 8))
    kept = start.copy()
    given = latents(pipe, "red", latents=start, seed=9, **QUICK)
    np.testing.assert_array_equal(start, kept)
    np.testing.assert_array_equal(given, latents(pipe, "red", seed=4, **QUICK))


def test_guidance_of_one_equals_the_prompt_alone(pipe: Pipeline) -> None:
    settings = {**QUICK, "guidance_scale": 1.0}
    plain = latents(pipe, "red", seed=0, **settings)
    nearly = latents(pipe, "red", seed=0, **{**settings, "guidance_scale": 1 + 1e-6})
    np.testing.assert_allclose(plain, nearly, atol=1e-4)


def test_sizes_follow_height_and_width(pipe: Pipeline) -> None:
    images = pipe("red", height=32, width=96, **QUICK).images
    assert isinstance(images, list)
    assert images[0].size == (96, 32)


def test_the_text_is_encoded_once(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    run = Graphs.run

    def counted(self: Graphs, name: str, **tensors: NDArray[Any]) -> dict[str, NDArray[Any]]:
        runs.append(name)
        return run(self, name, **tensors)

    monkeypatch.setattr(Graphs, "run", counted)
    for _ in range(2):
        pipe(["red", "red", "blue"], **QUICK)
    assert runs.count("text_encoder") == 3  # red, blue and the empty text


def test_threads_get_the_pictures_of_serial_calls(bundle: Bundle) -> None:
    prompts = ["red", "blue", "a circle", "circles"] * 4

    def picture(job: tuple[int, str]) -> NDArray[np.float32]:
        return latents(pipe, job[1], seed=job[0], **NOISY)

    with trt_pipeline(bundle, threads=1) as pipe:
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(picture, enumerate(prompts)))
        np.testing.assert_array_equal(together, [picture(job) for job in enumerate(prompts)])


def test_a_progress_function_wraps_the_steps(pipe: Pipeline) -> None:
    seen: list[int] = []

    def track(steps: range) -> Iterator[int]:
        for step in steps:
            seen.append(step)
            yield step

    pipe("red", num_inference_steps=3, progress_bar=track)
    assert seen == [0, 1, 2]


def test_the_progress_bar_goes_off_with_one_argument(
    pipe: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe("red", num_inference_steps=3, progress_bar=False)
    assert capsys.readouterr().err == ""
    pipe("red", num_inference_steps=3)
    assert "3/3" in capsys.readouterr().err


def test_info_says_what_runs_where_and_why(pipe: Pipeline) -> None:
    info = pipe.info
    assert (info.model, info.backend, info.arithmetic) == ("tiny", "openvino", "fp32")
    assert info.reason.startswith("the best that can run here; ")
    assert info.device == "CPU, 1 thread"


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_pipeline_is_not_copied_but_opened_again(pipe: Pipeline, take: Any) -> None:
    message = r"cannot be copied or pickled.* Open the bundle in each process: trt_pipeline\('/"
    with pytest.raises(InvalidInputError, match=message):
        take(pipe)


@pytest.mark.parametrize("bundle", [None, 5, b"bundle"])
def test_what_is_no_path_is_no_bundle(bundle: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"bundle must be a path, got {bundle!r}"):
        trt_pipeline(bundle)


def test_a_closed_pipeline_refuses_calls(bundle: Bundle) -> None:
    pipe = trt_pipeline(bundle, threads=1)
    pipe.close()
    with pytest.raises(BackendError, match="the pipeline is closed"):
        pipe("red", **QUICK)


NAN = np.full((1, 4, 8, 8), np.nan)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": []}, "prompt is an empty list"),
        ({"height": 60}, "height must be a multiple of 8 from 32 to 128, got 60"),
        ({"width": 136}, "width must be a multiple of 8 from 32 to 128, got 136"),
        ({"height": 0}, "height must be .* got 0"),
        ({"height": 64.0}, r"height must be .* got 64\.0"),
        ({"num_inference_steps": 0}, "num_inference_steps must be .* got 0"),
        ({"num_inference_steps": 1001}, "num_inference_steps must be .* got 1001"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be .* got nan"),
        ({"sampler": "heun"}, "sampler must be one of ddim, .* got 'heun'"),
        ({"sampler": "euler", "eta": 0.5}, r"eta must be 0 with sampler euler"),
        ({"schedule": []}, r"schedule must be one of published, trained, got \[\]"),
        (
            {"timestep_spacing": "cubic"},
            "timestep_spacing must be one of leading, linspace, trailing, got 'cubic'",
        ),
        ({"eta": 1.5}, r"eta must be .* got 1\.5"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt must be .* got 0"),
        ({"guidance_interval": 0.5}, r"guidance_interval must be \(start, stop\)"),
        ({"seed": 10**5000}, "seed must be .*got an integer of thousands of digits"),
        ({"height": 10**5000}, "height must be .*got an integer of thousands of digits"),
        ({"guidance_scale": 10**5000}, "guidance_scale must be .*got an integer of thousands"),
        ({"cancel": 5}, r"cancel must have is_set\(\), as threading.Event does, got 5"),
        ({"callback_on_step_end": 5}, "callback_on_step_end must be a function, got 5"),
        ({"progress_bar": "no"}, "progress_bar must be True, False or a function"),
        ({"sampler": ""}, "sampler must be one of ddim, .* got ''"),
        (
            {"guidance_interval": (1, 0)},
            "guidance_interval must not stop before it starts, got 1 to 0",
        ),
        ({"output_type": "pt"}, "output_type must be one of pil, np, latent, got 'pt'"),
        ({"output_type": []}, r"output_type must be one of .* got \[\]"),
        ({"latents": NAN}, "latents hold numbers that are NaN"),
        (
            {"latents": np.full((1, 4, 8, 8), 1e300)},
            "latents hold numbers that are NaN or infinite",
        ),
        ({"latents": np.zeros((1, 4, 8, 9))}, r"latents have shape \(1, 4, 8, 9\), expected"),
        ({"latents": "noise"}, "latents must be an array of numbers: "),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": [1, 2]}, "seed has 2 entries for 1 image"),
        ({"seed": 1, "generator": TorchGenerator(0)}, "seed and generator both"),
        ({"generator": 5}, r"generator is a builtins\.int, expected TorchGenerator"),
    ],
)
def test_bad_arguments_are_named(pipe: Pipeline, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        pipe(**{"prompt": "red", **QUICK, **settings})


def test_an_unknown_keyword_suggests_the_nearest_name(pipe: Pipeline) -> None:
    with pytest.raises(
        UnknownArgumentError, match=r"has no argument guidance; did you mean guidance_scale\?$"
    ):
        pipe("red", guidance=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"did you mean num_inference_steps\?$"):
        pipe("red", steps=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^this call has no argument zzz\.$"):
        pipe("red", zzz=5, aaa=5)  # type: ignore[call-arg]


def test_an_argument_given_twice_is_named(pipe: Pipeline) -> None:
    with pytest.raises(UnknownArgumentError, match=r"this call has multiple values for .*'prompt'"):
        pipe("red", prompt="blue")  # type: ignore[misc]
    with pytest.raises(UnknownArgumentError, match="this call has too many positional arguments"):
        pipe("red", 64, 64, 2, 1.0, 0.0, None, None, "np", True, 5)  # type: ignore[call-arg]


def test_a_negative_prompt_has_no_effect_without_guidance(pipe: Pipeline) -> None:
    plain = {**QUICK, "guidance_scale": 1.0, "seed": 0}
    expected = latents(pipe, "red", **plain)
    found = latents(pipe, "red", negative_prompt="blue", **plain)
    np.testing.assert_array_equal(found, expected)


def test_a_negative_prompt_takes_the_empty_text_s_place(pipe: Pipeline) -> None:
    plain = latents(pipe, "red", seed=0, **QUICK)
    np.testing.assert_array_equal(plain, latents(pipe, "red", negative_prompt="", seed=0, **QUICK))
    same = {**QUICK, "guidance_scale": 1.0}
    opposed = latents(pipe, "red", negative_prompt="red", seed=0, **QUICK)
    np.testing.assert_allclose(opposed, latents(pipe, "red", seed=0, **same), atol=1e-4)


def test_each_picture_may_have_its_own_guidance(pipe: Pipeline) -> None:
    both = latents(pipe, ["red", "red"], seed=[4, 4], **{**QUICK, "guidance_scale": [1.0, 6.0]})
    for row, scale in zip(both, (1.0, 6.0), strict=True):
        alone = latents(pipe, "red", seed=4, **{**QUICK, "guidance_scale": scale})
        np.testing.assert_allclose(row, alone[0], atol=ROUNDING)


def test_a_mixture_lies_between_its_texts(pipe: Pipeline) -> None:
    """The tiny model is linear in the text's mean, so the mixture's latents are the mean's."""
    plain = {**QUICK, "guidance_scale": 1.0}
    mixed = latents(pipe, [("red", 0.5), ("blue", 0.5)], seed=0, **plain)
    mean = (latents(pipe, "red", seed=0, **plain) + latents(pipe, "blue", seed=0, **plain)) / 2
    np.testing.assert_allclose(mixed, mean, atol=ROUNDING)


def test_an_empty_interval_is_no_guidance(pipe: Pipeline) -> None:
    unguided = latents(pipe, "red", guidance_interval=(0.0, 0.0), seed=0, **QUICK)
    plain = latents(pipe, "red", seed=0, **{**QUICK, "guidance_scale": 1.0})
    np.testing.assert_array_equal(unguided, plain)


def test_the_interval_guides_its_steps_only(pipe: Pipeline) -> None:
    first = latents(pipe, "red", guidance_interval=(0.0, 0.3), seed=0, **QUICK)
    for interval in ((0.0, 1.0), (0.0, 0.0)):
        other = latents(pipe, "red", guidance_interval=interval, seed=0, **QUICK)
        assert not np.allclose(first, other, atol=0.01)


def test_pictures_of_one_prompt_follow_each_other(pipe: Pipeline) -> None:
    output = pipe(["red", "blue"], num_images_per_prompt=2, seed=0, output_type="latent", **QUICK)
    assert output.seeds == (0, 1, 2, 3)
    third = latents(pipe, "blue", seed=2, **QUICK)
    np.testing.assert_allclose(np.asarray(output.images)[2], third[0], atol=ROUNDING)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_runs_over_its_own_steps(pipe: Pipeline, sampler: str) -> None:
    settings = {**QUICK, "num_inference_steps": 8, "guidance_scale": 1.0}
    found = latents(pipe, "red", seed=0, sampler=sampler, **settings)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, latents(pipe, "red", seed=0, sampler=sampler, **settings))


def test_the_trained_schedule_gives_another_picture(pipe: Pipeline) -> None:
    published = latents(pipe, "red", seed=0, **QUICK)
    trained = latents(pipe, "red", seed=0, schedule="trained", **QUICK)
    assert np.abs(published - trained).max() > 0.01


def test_another_timestep_spacing_gives_another_picture(pipe: Pipeline) -> None:
    own, leading, linspace = (
        latents(pipe, "red", seed=0, timestep_spacing=spacing, **QUICK)
        for spacing in (None, "leading", "linspace")
    )
    np.testing.assert_array_equal(own, leading)
    assert np.abs(own - linspace).max() > 0.01


def test_numbers_beyond_float32_are_an_error_and_no_black_picture(pipe: Pipeline) -> None:
    huge = np.full((1, 4, 8, 8), 3e38)
    with pytest.raises(BackendError, match="the latents overflowed to infinity or NaN"):
        pipe("red", latents=huge, seed=0, **{**QUICK, "guidance_scale": 1e6})


def test_a_call_makes_at_most_ten_thousand_pictures(pipe: Pipeline) -> None:
    with pytest.raises(InvalidInputError, match="the number of pictures must be an integer from 1"):
        pipe(["red", "blue"], num_images_per_prompt=10_000)


def test_an_array_is_quoted_on_one_line(tmp_path: Path) -> None:
    bundle, message = (
        write_unconditional_bundle(tmp_path / "u"),
        r"^image is array\([^\n]*no encoder",
    )
    with trt_pipeline(bundle) as pipe, pytest.raises(InvalidInputError, match=message):
        pipe(image=np.zeros((32, 32, 3), np.uint8))


def test_a_decoder_of_another_factor_is_an_error(bundle: Bundle) -> None:
    other = replace(bundle, model=replace(bundle.model, vae_scale_factor=4))
    with (
        trt_pipeline(other, threads=1) as pipe,
        pytest.raises(BackendError, match="decoder: image"),
    ):
        pipe("red", num_inference_steps=1)
