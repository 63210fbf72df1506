"""Models without prompts: pictures of noise alone, and enlarged pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import (
    Bundle,
    InvalidInputError,
    Pipeline,
    SeedNoise,
    UnknownArgumentError,
    trt_pipeline,
)
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli
from trt_pipeline.sampling.samplers import ddim

from .tiny_bundle import write_super_resolution_bundle, write_unconditional_bundle

QUICK: dict[str, Any] = {"num_inference_steps": 3, "progress_bar": False, "seed": 0}
RED = Image.new("RGB", (32, 32), "red")
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def unconditional_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_unconditional_bundle(tmp_path_factory.mktemp("bundles") / "unconditional")


@pytest.fixture(scope="module")
def enlarging_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_super_resolution_bundle(tmp_path_factory.mktemp("bundles") / "enlarging")


@pytest.fixture(scope="module")
def unconditional(unconditional_bundle: Bundle) -> Iterator[Pipeline]:
    with trt_pipeline(unconditional_bundle, threads=1) as pipe:
        yield pipe


@pytest.fixture(scope="module")
def enlarging(enlarging_bundle: Bundle) -> Iterator[Pipeline]:
    with trt_pipeline(enlarging_bundle, threads=1) as pipe:
        yield pipe


def arrays(pipe: Pipeline, **settings: Any) -> NDArray[Any]:
    return np.stack([np.asarray(image) for image in pipe(**{**QUICK, **settings}).images])


@pytest.mark.parametrize("cache_interval", [1, 2])
def test_unconditional_latents_are_those_of_the_formula(
    unconditional: Pipeline, cache_interval: int
) -> None:
    """The tiny model's output is its features, x / 2."""
    table = ddim(unconditional.bundle.schedule, 3)
    x = SeedNoise(0).draw((1, 4, 8, 8))
    for step, (p, q, a, b0, *_) in enumerate(table.coefficients):
        if step % cache_interval == 0:
            features = x / 2
        x = a * x + b0 * (p * x + q * features)
    found = arrays(unconditional, output_type="latent", cache_interval=cache_interval)
    np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-6)


def test_a_batch_larger_than_the_bundle_s_is_split(unconditional: Pipeline) -> None:
    many = unconditional(num_images_per_prompt=6, **QUICK)
    alone = arrays(unconditional, seed=5)
    assert many.seeds == (0, 1, 2, 3, 4, 5)
    np.testing.assert_array_equal(np.asarray(many.images[5]), alone[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "red"}, "prompt is 'red', but this model makes pictures without prompts"),
        ({"negative_prompt": "red"}, "negative_prompt is 'red', but this model makes"),
        ({"guidance_scale": 6}, "guidance_scale is 6, but this model makes pictures without"),
        ({"guidance_interval": (0, 0.5)}, r"guidance_interval is \(0, 0\.5\), but this model"),
        ({"image": RED}, "image is .*, but this bundle has no encoder for pictures"),
        ({"strength": 0.5}, r"strength is 0\.5, but this bundle has no encoder for pictures"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt must be an integer from 1"),
    ],
)
def test_what_an_unconditional_model_has_no_use_for_is_refused(
    unconditional: Pipeline, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        unconditional(**{**QUICK, **settings})


def test_the_number_of_pictures_has_one_name(unconditional: Pipeline) -> None:
    with pytest.raises(UnknownArgumentError, match="this call has no argument batch_size"):
        unconditional(batch_size=2)  # type: ignore[call-arg]


def test_arguments_that_say_what_happens_anyway_are_taken(unconditional: Pipeline) -> None:
    plain = {"guidance_scale": 1, "negative_prompt": "", "guidance_interval": (0.0, 1.0)}
    np.testing.assert_array_equal(arrays(unconditional, **plain), arrays(unconditional))


@pytest.mark.parametrize("cache_interval", [1, 2])
def test_enlarged_latents_are_those_of_the_formula(
    enlarging: Pipeline, cache_interval: int
) -> None:
    """The tiny model's output is half the picture in -1..1, and 0 in the fourth channel."""
    output = np.zeros((1, 4, 32, 64), np.float32)
    output[0, :3] = (np.asarray(NOISE).transpose(2, 0, 1) / 127.5 - 1) / 2
    x = SeedNoise(0).draw((1, 4, 32, 64))
    for p, q, a, b0, *_ in ddim(enlarging.bundle.schedule, 3).coefficients:
        x = a * x + b0 * (p * x + q * output)
    settings = {"image": NOISE, "cache_interval": cache_interval, "output_type": "latent"}
    np.testing.assert_allclose(arrays(enlarging, **settings), x, rtol=1e-5, atol=1e-5)


def test_a_picture_is_enlarged_by_the_model_s_factor(enlarging: Pipeline) -> None:
    latents = arrays(enlarging, image=NOISE, output_type="latent")[0, :3].transpose(1, 2, 0)
    expected = np.kron((64 + 64 * latents).clip(0, 255), np.ones((8, 8, 1)))
    (found,) = arrays(enlarging, image=NOISE)
    assert found.shape == (256, 512, 3)
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-3)


def test_a_picture_is_resized_to_a_multiple_of_32(enlarging: Pipeline) -> None:
    small = Image.new("RGBA", (40, 33), (255, 0, 0, 255))
    np.testing.assert_array_equal(arrays(enlarging, image=small), arrays(enlarging, image=RED))


def test_each_picture_is_enlarged_as_if_alone(enlarging: Pipeline) -> None:
    images = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    together = arrays(enlarging, image=images, num_images_per_prompt=2)
    assert len(together) == 6
    for number, picture in enumerate(together):
        alone = arrays(enlarging, image=images[number // 2], seed=number)
        np.testing.assert_array_equal(picture, alone[0])


def test_an_array_of_pictures_has_one_each(enlarging: Pipeline) -> None:
    both = np.stack([np.asarray(RED), np.zeros((32, 32, 3), np.uint8)])
    listed = arrays(enlarging, image=[RED, Image.new("RGB", (32, 32))])
    np.testing.assert_array_equal(arrays(enlarging, image=both), listed)


def test_samples_at_other_steps_share_a_call_without_prompts_as_well(enlarging: Pipeline) -> None:
    (first,) = enlarging.start(image=RED, **QUICK)
    (second,) = enlarging.start(image=NOISE.resize((32, 32)), **{**QUICK, "sampler": "unipc"})
    enlarging.step([first])
    for samples in ([second, first], [first, second], [second]):
        enlarging.step(samples)
    settings: dict[str, Any] = {"image": NOISE.resize((32, 32)), "sampler": "unipc"}
    for sample, alone in ((first, {"image": RED}), (second, settings)):
        expected = arrays(enlarging, output_type="latent", **alone)
        np.testing.assert_array_equal(sample.latents, expected[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"^image is missing; this model enlarges pictures\."),
        ({"image": []}, "image is an empty list, expected at least one picture"),
        ({"image": RED.resize((64, 96))}, r"enlarged to 512x768 .* makes 256\.\.512 by 256\.\.512"),
        ({"image": [NOISE, RED]}, "image is 64x32, 32x32 pixels, but all must have one size"),
        ({"image": RED.resize((40, 31))}, "and at least 32 pixels along each side"),
        ({"image": RED, "height": 512}, "height and width are 512 and None, but .* 256x256 pixels"),
        ({"image": RED, "prompt": "red"}, "prompt is 'red', but this model makes pictures without"),
        ({"image": RED, "strength": 0.5}, r"strength is 0\.5, but this model enlarges an image by"),
        ({"image": RED, "mask_image": RED}, "mask_image is .*, but this model enlarges an image"),
    ],
)
def test_what_cannot_be_enlarged_is_refused(
    enlarging: Pipeline, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        enlarging(**{**QUICK, **settings})


def test_the_size_may_be_said_if_it_is_right(enlarging: Pipeline) -> None:
    said = arrays(enlarging, image=RED, height=256, width=256)
    np.testing.assert_array_equal(said, arrays(enlarging, image=RED))


def generate(bundle: Bundle, *args: object) -> int:
    quick = ("--threads", "1", "--no-progress", "--num-inference-steps", "3", "--seed", "0")
    return console.run(cli, ["generate", "--bundle", str(bundle.path), *quick, *map(str, args)])


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_command_makes_pictures_without_a_prompt(
    unconditional: Pipeline, unconditional_bundle: Bundle, tmp_path: Path
) -> None:
    assert generate(unconditional_bundle, "--count", 2, "-o", tmp_path) == 0
    made = [pixels(path) for path in sorted(tmp_path.iterdir())]
    np.testing.assert_array_equal(made, arrays(unconditional, num_images_per_prompt=2))


def test_the_command_enlarges_a_picture_and_does_so_again(
    enlarging: Pipeline, enlarging_bundle: Bundle, tmp_path: Path
) -> None:
    small, first, again = (tmp_path / name for name in ("small.png", "first.png", "again.png"))
    NOISE.save(small)
    assert generate(enlarging_bundle, "--image", small, "-o", first) == 0
    np.testing.assert_array_equal(pixels(first), arrays(enlarging, image=NOISE)[0])
    assert generate(enlarging_bundle, "--from", first, "--image", small, "-o", again) == 0
    assert again.read_bytes() == first.read_bytes()


def test_a_prompt_file_may_have_lines_without_prompts(
    unconditional: Pipeline, unconditional_bundle: Bundle, tmp_path: Path
) -> None:
    lines, out = tmp_path / "lines.jsonl", tmp_path / "out"
    lines.write_text('{"seed": 4}\n{"seed": 5, "eta": 0.5}\n')
    assert generate(unconditional_bundle, "--prompts", lines, "-o", out) == 0
    first, second = (pixels(path) for path in sorted(out.iterdir()))
    np.testing.assert_array_equal(first, arrays(unconditional, seed=4)[0])
    np.testing.assert_array_equal(second, arrays(unconditional, seed=5, eta=0.5)[0])


def test_the_command_says_what_a_model_without_prompts_cannot_do(
    unconditional_bundle: Bundle,
    enlarging_bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert generate(unconditional_bundle, "red", "-o", tmp_path / "a.png") == 2
    assert "this model makes pictures without prompts" in capsys.readouterr().err
    assert generate(enlarging_bundle, "-o", tmp_path / "a.png") == 2
    assert capsys.readouterr().err == "error: image is missing; this model enlarges pictures.\n"
