"""Feature caching on the tiny bundle, whose features are mean(context_kv) + mean(time_embeds)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import (
    Bundle,
    IntegrityError,
    InvalidInputError,
    Pipeline,
    PipelineOutput,
    SeedNoise,
    trt_pipeline,
)
from trt_pipeline.bench.ours import WatchedBackend
from trt_pipeline.sampling.samplers import ddim

from .tiny_bundle import EMBEDDING

RED: dict[str, Any] = {"prompt": "red", "seed": 0, "progress_bar": False, "output_type": "latent"}


@pytest.fixture
def watched(pipe: Pipeline) -> Iterator[tuple[Pipeline, WatchedBackend]]:
    backend = WatchedBackend(pipe._backend)
    with Pipeline(pipe.bundle, backend) as watching:
        yield watching, backend


def latents(pipe: Pipeline, **settings: Any) -> NDArray[np.float32]:
    images = pipe(**{**RED, **settings}).images
    assert isinstance(images, np.ndarray)
    return images


def test_steps_between_see_the_features_of_the_last_whole_one(pipe: Pipeline) -> None:
    table = ddim(pipe.bundle.schedule, 5, 0)
    x = SeedNoise(0).draw((1, 4, 8, 8))
    ids = np.full(77, 0)
    ids[:3] = 2, 6, 3
    text, seen = EMBEDDING[ids].mean(), table.timesteps[[0, 0, 2, 2, 4]]
    for t, (_, _, a, b0, *_) in zip(seen, table.coefficients, strict=True):
        x = a * x + b0 * (x / 2 + text + t / 1000)
    found = latents(pipe, num_inference_steps=5, cache_interval=2)
    np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "whole"),
    [
        ({"cache_interval": 1}, 6),
        ({"cache_interval": 2}, 3),
        ({"cache_interval": 4}, 2),
        ({"cache_interval": 1000}, 1),
        # Steps 0..2 are guided and have two rows, so their features do not fit the one row after.
        ({"cache_interval": 1000, "guidance_scale": 6, "guidance_interval": (0, 0.5)}, 2),
        ({"cache_interval": 2, "guidance_scale": 6, "guidance_interval": (0, 0.5)}, 4),
    ],
)
def test_the_whole_denoiser_runs_in_every_nth_step(
    watched: tuple[Pipeline, WatchedBackend], settings: dict[str, Any], whole: int
) -> None:
    pipe, backend = watched
    latents(pipe, num_inference_steps=6, **settings)
    assert len(backend.seconds["denoiser"]) == whole
    assert len(backend.seconds.get("cached_denoiser", [])) == 6 - whole


def test_a_picture_does_not_depend_on_its_company(pipe: Pipeline) -> None:
    """Six prompts take two calls of the denoiser, each with features of its own."""
    prompts = ["red", "a red circle", "blue", "a circle", "circles", "a blue circle"]
    settings: dict[str, Any] = {"cache_interval": 3, "guidance_scale": 4, "num_inference_steps": 7}
    together = latents(pipe, **settings, prompt=prompts, seed=list(range(6)))
    alone = [
        latents(pipe, **settings, prompt=prompt, seed=seed) for seed, prompt in enumerate(prompts)
    ]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=2e-5, atol=2e-5)


def test_a_stream_gives_the_latents_of_a_call(pipe: Pipeline) -> None:
    settings = {**RED, "cache_interval": 2, "num_inference_steps": 5, "sampler": "unipc"}
    *_, last = pipe.stream(**settings)
    assert isinstance(last, PipelineOutput)
    np.testing.assert_array_equal(np.asarray(last.images), latents(pipe, **settings))


@pytest.mark.parametrize("interval", [0, -1, 1.5, True, "2", 1001])
def test_an_interval_is_an_integer_from_one(pipe: Pipeline, interval: Any) -> None:
    with pytest.raises(InvalidInputError, match="cache_interval"):
        latents(pipe, cache_interval=interval)


def test_a_bundle_without_the_cached_graph_refuses_an_interval(bundle: Bundle) -> None:
    graphs = {name: graph for name, graph in bundle.graphs.items() if name != "cached_denoiser"}
    with trt_pipeline(replace(bundle, graphs=graphs)) as pipe:
        latents(pipe, num_inference_steps=2)
        with pytest.raises(
            InvalidInputError, match=r"no cached_denoiser\. Export its checkpoint again\."
        ):
            latents(pipe, num_inference_steps=2, cache_interval=2)


def test_a_graph_changed_since_the_pipeline_opened_is_refused(own_bundle: Bundle) -> None:
    with trt_pipeline(own_bundle.path) as pipe:
        path = own_bundle.path / own_bundle.graph("cached_denoiser", "fp32").weights
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(IntegrityError, match=r"cached_denoiser\.weights"):
            latents(pipe, num_inference_steps=2, cache_interval=2)
