"""The seam start, step, finish: a sample's bits do not depend on the samples beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import (
    BackendError,
    Bundle,
    InvalidInputError,
    Pipeline,
    Sample,
    TorchGenerator,
    trt_pipeline,
)
from trt_pipeline.sampling.samplers import SAMPLERS, WITH_ETA

PROMPTS = ("red", "a blue circle", "circles", [("red", 0.75), ("blue", 0.25)])
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
MASK = Image.fromarray(np.repeat(np.arange(32) < 16, 32).reshape(32, 32))
BEGINNINGS: Sequence[Mapping[str, Any]] = (
    {},
    {},
    {"image": IMAGE, "strength": 0.6},
    {"image": IMAGE, "mask_image": MASK},
    {"image": IMAGE, "mask_image": MASK, "strength": 0.7},
)
SCHEDULES = 25
RED: dict[str, Any] = {"prompt": "red", "num_inference_steps": 3, "seed": 0}


def drawn_settings(random: Random, side: int) -> dict[str, Any]:
    """The settings of one picture, `side` pixels high and wide."""
    sampler = random.choice(tuple(SAMPLERS))
    return {
        "prompt": random.choice(PROMPTS),
        "height": side,
        "width": side,
        "seed": random.randrange(2**32),
        "sampler": sampler,
        "eta": random.choice((0.0, 0.5, 1.0)) if sampler in WITH_ETA else None,
        "num_inference_steps": random.randint(2, 6),
        "guidance_scale": random.choice((1.0, 1.0, 0.0, 4.0, 7.5)),
        "guidance_interval": random.choice(((0.0, 1.0), (0.0, 0.5), (0.3, 0.8), (0.0, 0.0))),
        "negative_prompt": random.choice(("", "blue", "a red circle")),
        "cache_interval": random.choice((1, 1, 2, 3)),
        "schedule": random.choice(("published", "trained")),
        "timestep_spacing": random.choice((None, "trailing", "linspace")),
        **random.choice(BEGINNINGS),
    }


@dataclass
class Schedules:
    """Random schedules on one pipeline; what a sample becomes alone is found once."""

    pipe: Pipeline
    random: Random
    alone: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A pool that samples are drawn from."""
        side = self.pipe.bundle.limits.height[0]
        self.pool = [drawn_settings(self.random, side) for _ in range(60)]

    def run(self) -> None:
        """Samples that join, take steps and leave at random give the bits that they give alone."""
        waiting = self.random.choices(range(len(self.pool)), k=self.random.randint(2, 6))
        active: list[tuple[int, Sample]] = []
        while waiting or active:
            while waiting and (not active or self.random.random() < 0.5):
                number = waiting.pop()
                (sample,) = self.pipe.start(**self.pool[number])
                active.append((number, sample))
            stepping = self.random.sample(active, self.random.randint(1, len(active)))
            self.pipe.step([sample for _, sample in stepping])
            for number, sample in stepping:
                if sample.done:
                    self.check(number, sample)
            active = [(number, sample) for number, sample in active if not sample.done]

    def check(self, number: int, sample: Sample) -> None:
        """Bit for bit the latents of a call with the same settings."""
        if number not in self.alone:
            settings = {**self.pool[number], "output_type": "latent", "progress_bar": False}
            self.alone[number] = np.asarray(self.pipe(**settings).images)[0]
        np.testing.assert_array_equal(sample.latents, self.alone[number], str(self.pool[number]))


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def pipe(bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    with trt_pipeline(bundle, backend=request.param, threads=2) as pipeline:
        yield pipeline


@pytest.mark.parametrize(
    "schedules", [SCHEDULES, pytest.param(1000, marks=pytest.mark.slow)], ids=str
)
def test_samples_that_join_and_leave_at_random_have_the_bits_that_they_have_alone(
    pipe: Pipeline, schedules: int
) -> None:
    random = Schedules(pipe, Random(schedules))
    for _ in range(schedules):
        random.run()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_samples_of_an_exported_model_have_the_bits_that_they_have_alone(
    other_bundle: Path, backend: str, threads: int
) -> None:
    with trt_pipeline(other_bundle, backend=backend, threads=threads) as pipe:
        random = Schedules(pipe, Random(0))
        for _ in range(250):
            random.run()


def stepped(pipe: Pipeline, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Samples, taken through all their steps."""
    while left := [sample for sample in samples if not sample.done]:
        pipe.step(left)
    return samples


def test_the_seam_makes_the_pictures_of_a_call(pipe: Pipeline) -> None:
    settings = {**RED, "prompt": ["red", "blue"], "guidance_scale": 6}
    output = pipe.finish(stepped(pipe, pipe.start(**settings)))
    expected = pipe(**settings, progress_bar=False)
    for found, image in zip(output.images, expected.images, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(image))
    assert output.seeds == expected.seeds == (0, 1)
    assert output.nsfw_content_detected is None


def test_a_masked_sample_keeps_its_pixels(pipe: Pipeline) -> None:
    samples = pipe.start(
        **RED, image=IMAGE, mask_image=MASK, height=32, width=32, overlay="seamless"
    )
    (picture,) = pipe.finish(stepped(pipe, samples)).images
    np.testing.assert_array_equal(np.asarray(picture)[16:], np.asarray(IMAGE)[16:])


def test_a_sample_is_done_after_its_own_steps(pipe: Pipeline) -> None:
    (short,) = pipe.start(**{**RED, "num_inference_steps": 2})
    (long,) = pipe.start(**RED)
    pipe.step([short, long])
    pipe.step([long, short])
    assert (short.done, long.done) == (True, False)
    assert (short.index, long.index) == (2, 2)


def test_a_sample_that_is_done_takes_no_further_step(pipe: Pipeline) -> None:
    samples = stepped(pipe, pipe.start(**RED))
    (fresh,) = pipe.start(**RED)
    with pytest.raises(InvalidInputError, match="a sample that is done takes no further step"):
        pipe.step([fresh, *samples])
    assert fresh.index == 0


def test_what_is_no_sample_takes_no_step_and_makes_no_picture(pipe: Pipeline) -> None:
    for use in (pipe.step, pipe.finish):
        with pytest.raises(InvalidInputError, match="samples are what start gives, got 1"):
            use([1])  # type: ignore[list-item]


def test_samples_of_other_sizes_take_no_step_together(pipe: Pipeline) -> None:
    samples = [*pipe.start(**RED, height=32), *pipe.start(**RED)]
    with pytest.raises(InvalidInputError, match=r"one size, got \[\(4, 4, 8\), \(4, 8, 8\)\]"):
        pipe.step(samples)
    assert [sample.index for sample in samples] == [0, 0]


def test_one_sample_takes_no_two_steps_at_once(pipe: Pipeline) -> None:
    (sample,) = pipe.start(**RED)
    with pytest.raises(InvalidInputError, match="a sample is given twice"):
        pipe.step([sample, sample])
    assert sample.index == 0


def test_a_sample_that_is_not_done_does_not_finish(pipe: Pipeline) -> None:
    with pytest.raises(InvalidInputError, match="a sample took 0 of 3 steps"):
        pipe.finish(pipe.start(**RED))


def test_no_samples_take_no_step_and_make_no_picture(pipe: Pipeline) -> None:
    pipe.step([])
    with pytest.raises(InvalidInputError, match="finish needs at least one sample"):
        pipe.finish([])


def test_samples_of_other_sizes_do_not_finish_together(pipe: Pipeline) -> None:
    samples = stepped(pipe, pipe.start(**RED, height=32))
    others = stepped(pipe, pipe.start(**RED))
    with pytest.raises(InvalidInputError, match=r"one size, got \[\(4, 4, 8\), \(4, 8, 8\)\]"):
        pipe.finish([*samples, *others])


def test_tiled_and_whole_samples_do_not_finish_together(pipe: Pipeline) -> None:
    whole = stepped(pipe, pipe.start(**RED))
    tiled = stepped(pipe, pipe.start(**RED, vae_tile_size=64))
    with pytest.raises(InvalidInputError, match="must have one vae_tile_size"):
        pipe.finish([*whole, *tiled])


def test_a_picture_of_a_generator_has_no_seed(pipe: Pipeline) -> None:
    settings = {**RED, "seed": None}
    seeded = stepped(pipe, pipe.start(**{**RED, "seed": 5}))
    drawn = stepped(pipe, pipe.start(**settings, generator=TorchGenerator(0)))
    assert pipe.finish(seeded).seeds == (5,)
    assert pipe.finish([*seeded, *drawn]).seeds is None


def test_samples_of_one_generator_may_take_their_steps_apart(pipe: Pipeline) -> None:
    settings = {**RED, "prompt": ["red", "blue"], "seed": None, "eta": 0.5}
    together = stepped(pipe, pipe.start(**settings, generator=TorchGenerator(3)))
    first, second = pipe.start(**settings, generator=TorchGenerator(3))
    stepped(pipe, [second])
    stepped(pipe, [first])
    for sample, other in zip((first, second), together, strict=True):
        np.testing.assert_array_equal(sample.latents, other.latents)


def test_the_safety_checker_sees_what_finishes(bundle: Bundle) -> None:
    with trt_pipeline(bundle, threads=1, safety_checker=lambda images: [True]) as pipe:
        output = pipe.finish(stepped(pipe, pipe.start(**RED)))
    assert output.nsfw_content_detected == (True,)
    assert not np.asarray(output.images[0]).any()


def test_a_start_is_checked_as_a_call(pipe: Pipeline) -> None:
    with pytest.raises(InvalidInputError, match="eta must be"):
        pipe.start(**{**RED, "eta": 2})
    with pytest.raises(TypeError, match="did you mean num_inference_steps"):
        pipe.start("red", steps=2)  # type: ignore[call-arg]


def test_a_closed_pipeline_takes_no_step(bundle: Bundle) -> None:
    with trt_pipeline(bundle, threads=1) as pipe:
        samples = pipe.start("red", num_inference_steps=2)
    with pytest.raises(BackendError, match="the pipeline is closed"):
        pipe.step(samples)


def test_pictures_of_one_prompt_share_their_rows(pipe: Pipeline) -> None:
    one, other, third = pipe.start(["red", "red", "blue"], guidance_scale=6)
    assert one.rows[0] is other.rows[0]
    assert one.rows[0] is not third.rows[0]
