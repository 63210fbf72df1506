"""GPU backends beside ONNX Runtime's CPU, and beside themselves."""

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_export.families.ldm_text_to_image import FAMILY
from trt_export.networks.reference.random_inputs import random_inputs
from trt_pipeline import Bundle, Pipeline, PipelineOutput
from trt_pipeline.backends.base import Backend

pytestmark = pytest.mark.gpu

SETTINGS: dict[str, Any] = {
    "num_inference_steps": 10,
    "guidance_scale": 6.0,
    "eta": 0.3,
    "progress_bar": False,
}
PROMPT = "a red circle"


def pixels(pipe: Pipeline, prompt: str | list[str] = PROMPT, **settings: Any) -> NDArray[Any]:
    images = pipe(prompt, **{**SETTINGS, **settings}).images
    return np.stack([np.asarray(image) for image in images])


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    """dB."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("name", FAMILY.graphs)
def test_each_graph_agrees_with_the_cpu(
    gpu_bundle: Bundle, gpu_backend: Backend, cpu_pipe: Pipeline, name: str
) -> None:
    """Half precision rounds each value to 5e-4 of its size; hundreds of layers add up to 2 %."""
    model, own = gpu_bundle.model, gpu_bundle.defaults
    sizes = {"batch": 1, "rows": 2, "steps": 4, "height": own.height, "width": own.width}
    for side in ("height", "width"):
        sizes[f"latent_{side}"] = sizes[side] // model.vae_scale_factor
    exact = cpu_pipe._backend.graph(name)
    graph = gpu_backend.graph(name)
    given = {
        spec.name: tensor.numpy().astype(spec.dtype)
        for spec, tensor in zip(
            exact.inputs, random_inputs(exact.inputs, sizes, 30, 0).values(), strict=True
        )
    }
    rounded = {spec.name: given[spec.name].astype(spec.dtype) for spec in graph.inputs}
    for output, expected in exact.run(given).items():
        found = graph.run(rounded)[output].astype(np.float64)
        scale = np.linalg.norm(expected.astype(np.float64))
        assert np.linalg.norm(found - expected) <= 0.02 * scale, output


def test_the_picture_is_the_cpus(gpu_pipe: Pipeline, cpu_pipe: Pipeline) -> None:
    """40 dB is the bar that half-precision weights are held to."""
    assert psnr(pixels(gpu_pipe, seed=0), pixels(cpu_pipe, seed=0)) >= 40


@pytest.mark.parametrize("cache_interval", [1, 3])
def test_the_loop_gives_the_bits_of_single_steps(gpu_pipe: Pipeline, cache_interval: int) -> None:
    settings = {
        **SETTINGS,
        "seed": 1,
        "output_type": "latent",
        "cache_interval": cache_interval,
    }
    *_, stepwise = gpu_pipe.stream(PROMPT, **settings)
    assert isinstance(stepwise, PipelineOutput)
    for _ in range(3):  # enqueued, then recorded and replayed
        found = gpu_pipe(PROMPT, **settings).images
        np.testing.assert_array_equal(np.asarray(found), np.asarray(stepwise.images))


def test_a_picture_does_not_depend_on_its_batch(gpu_bundle: Bundle, gpu_pipe: Pipeline) -> None:
    """Other kernels serve other batches; they may round otherwise, by less than one sees."""
    count = min(8, gpu_bundle.limits.batch[1])
    together = pixels(gpu_pipe, [PROMPT] * count, seed=list(range(count)))
    for seed in (0, count - 1):
        assert psnr(together[seed], pixels(gpu_pipe, seed=seed)[0]) >= 40


def test_pipelines_and_threads_do_not_disturb_each_other(
    gpu_bundle: Bundle, gpu_backend: Backend
) -> None:
    pipes = [Pipeline(gpu_bundle, gpu_backend) for _ in range(2)]
    expected = [pixels(pipes[0], seed=seed) for seed in range(4)]
    found: dict[int, NDArray[Any]] = {}

    def draw(seed: int) -> None:
        found[seed] = pixels(pipes[seed % 2], seed=seed)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(found[seed], expected[seed])


def test_a_thousand_pictures_take_no_more_memory(gpu_pipe: Pipeline) -> None:
    runtime = pytest.importorskip("cupy").cuda.runtime
    quick: dict[str, Any] = {"num_inference_steps": 2}
    for seed in range(10):
        pixels(gpu_pipe, seed=seed, **quick)
    before, _ = runtime.memGetInfo()
    for seed in range(1000):
        pixels(gpu_pipe, seed=seed, **quick)
    after, _ = runtime.memGetInfo()
    assert before - after <= 16 * 2**20
