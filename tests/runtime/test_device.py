"""The GPU backends without a GPU: layouts, the plan of the loop, and all of it on the CPU."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from trt_pipeline import (
    Bundle,
    GenerationCancelledError,
    InvalidInputError,
    Pipeline,
    PipelineOutput,
    trt_pipeline,
)
from trt_pipeline.backends.device.failures import device_error
from trt_pipeline.backends.device.layout import Tensor, lay_out
from trt_pipeline.backends.device.loop import DeviceLoop, pack_rows
from trt_pipeline.backends.device.loop_plan import LoopPlan, plan_loop
from trt_pipeline.errors import BackendError, DeviceMemoryError, DeviceUnavailableError

from .host_device import HostBackend, HostDevice

SETTINGS: dict[str, Any] = {"num_inference_steps": 5, "seed": 3, "progress_bar": False}


@pytest.fixture
def host(bundle: Bundle) -> Iterator[Pipeline]:
    with Pipeline(bundle, HostBackend(bundle)) as pipe:
        yield pipe


def tensors(batch: int = 1) -> dict[str, Tensor]:
    latents, history = (batch, 4, 2, 2), (3, batch, 4, 2, 2)
    return {
        "latents": Tensor(latents, np.dtype("f4")),
        "history": Tensor(history, np.dtype("f4")),
        "time_embeds": Tensor((batch, 200), np.dtype("f2")),
        "coefficients": Tensor((batch, 8), np.dtype("f4")),
        "noise": Tensor(latents, np.dtype("f4")),
        "rows": Tensor((2,), np.dtype("i4")),
        "next_latents": Tensor(latents, np.dtype("f4")),
        "next_history": Tensor(history, np.dtype("f4")),
        "features": Tensor((2, 5, 2, 2), np.dtype("f2")),
    }


def test_tensors_lie_aligned_one_after_the_other() -> None:
    sizes = {"a": Tensor((3,), np.dtype("f4")), "b": Tensor((65,), np.dtype("f4"))}
    layout = lay_out({**sizes, "c": Tensor((), np.dtype("u1"))})
    assert layout.offsets == {"a": 0, "b": 256, "c": 768}
    assert layout.size == 1024


def test_a_plan_is_rows_and_two_states_after_the_constants() -> None:
    plan = plan_loop(3, tensors(), draws_noise=True)
    assert (plan.constants.size, plan.row.size, plan.state.size) == (256, 512 + 256 + 256, 512)
    assert [plan.row_offset(row) for row in (0, 2, plan.spare)] == [256, 2304, 3328]
    assert (plan.state_offset(0), plan.state_offset(1)) == (4352, 4864)
    assert (plan.state_offset(2), plan.size) == (5376, 5632)


def test_steps_read_their_own_rows_and_one_state_and_write_the_other() -> None:
    plan = plan_loop(3, tensors(), draws_noise=True)
    assert plan.step(1, 1) == {
        "rows": 0,
        "time_embeds": 1280,
        "coefficients": 1792,
        "noise": 2048,
        "latents": 4864,
        "history": 5120,
        "next_latents": 4352,
        "next_history": 4608,
        "features": 5376,
    }


def test_without_drawn_noise_all_steps_share_one() -> None:
    plan = plan_loop(3, tensors(), draws_noise=False)
    assert plan.step(0, 0)["noise"] == plan.step(2, 0)["noise"] < plan.row_offset(0)


def test_no_two_tensors_of_a_plan_overlap() -> None:
    plan = plan_loop(4, tensors(3), draws_noise=True)
    places = {
        (offset, plan.tensors[name].size)
        for row in range(5)
        for state in (0, 1)
        for name, offset in plan.step(row, state).items()
    }
    ends = 0
    for offset, size in sorted(places):
        assert offset >= ends
        ends = offset + size
    assert ends <= plan.size


def test_rows_hold_what_each_step_sees() -> None:
    plan = plan_loop(2, tensors(), draws_noise=False)
    times = np.arange(400, dtype=np.float16).reshape(2, 1, 200)
    coefficients = np.arange(16, dtype=np.float32).reshape(2, 1, 8)
    rows = pack_rows(plan, {"time_embeds": times, "coefficients": coefficients})
    assert rows.shape == (2, plan.row.size)
    np.testing.assert_array_equal(rows[1, :400].view(np.float16), times[1, 0])
    np.testing.assert_array_equal(rows[1, 512:544].view(np.float32), coefficients[1, 0])


def pictures(pipe: Pipeline, **settings: Any) -> Any:
    images = pipe(["a red circle", "blue"], **{**SETTINGS, **settings}).images
    return np.stack([np.asarray(image) for image in images])


@pytest.mark.parametrize(
    "settings",
    [
        {"guidance_scale": 6},
        {"guidance_scale": 6, "eta": 0.3},
        {"sampler": "dpmsolver++"},
        {"guidance_scale": 6, "num_images_per_prompt": 3},
        {"guidance_scale": 6, "guidance_interval": (0.2, 0.8)},
        {"guidance_scale": 6, "cache_interval": 2},
        {"sampler": "unipc", "cache_interval": 3},
    ],
)
def test_the_loop_gives_the_bits_of_single_steps(host: Pipeline, settings: Any) -> None:
    at_once = pictures(host, output_type="latent", **settings)
    *_, stepwise = host.stream(
        ["a red circle", "blue"], **{**SETTINGS, **settings, "output_type": "latent"}
    )
    assert isinstance(stepwise, PipelineOutput)
    np.testing.assert_array_equal(at_once, np.asarray(stepwise.images))


def test_bound_buffers_give_the_pictures_of_arrays(host: Pipeline, bundle: Bundle) -> None:
    with trt_pipeline(bundle, backend="onnxruntime", threads=1) as plain:
        expected = pictures(plain, guidance_scale=6, eta=0.3)
    np.testing.assert_array_equal(pictures(host, guidance_scale=6, eta=0.3), expected)


def test_a_second_call_finds_nothing_of_the_first(host: Pipeline) -> None:
    first = pictures(host, sampler="dpmsolver++")
    pictures(host, sampler="dpmsolver++", seed=9)
    np.testing.assert_array_equal(pictures(host, sampler="dpmsolver++"), first)


def test_threads_take_turns(bundle: Bundle) -> None:
    with Pipeline(bundle, HostBackend(bundle)) as pipe:
        expected = [pictures(pipe, seed=seed) for seed in range(4)]
        found: dict[int, Any] = {}
        threads = [
            threading.Thread(
                target=lambda seed=seed: found.update({seed: pictures(pipe, seed=seed)})
            )
            for seed in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(found[seed], expected[seed])


def test_few_loops_and_shapes_are_kept(bundle: Bundle) -> None:
    backend = HostBackend(bundle)
    with Pipeline(bundle, backend) as pipe:
        for steps in range(1, 8):
            pictures(pipe, num_inference_steps=steps)
        for height in range(32, 32 + 8 * 10, 8):
            pictures(pipe, height=height, num_inference_steps=1)
        assert len(backend._loops) == 4
        assert len(backend.graph("decoder")._bound) == 8


def test_a_call_is_cancelled_before_its_loop(host: Pipeline) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(GenerationCancelledError, match="before the first step"):
        host("red", **SETTINGS, cancel=cancel)


def test_the_progress_bar_sees_every_step(host: Pipeline) -> None:
    seen: list[int] = []

    def bar(steps: range) -> Iterator[int]:
        for step in steps:
            seen.append(step)
            yield step

    host("red", **{**SETTINGS, "progress_bar": bar})
    assert seen == [0, 1, 2, 3, 4]


def test_what_does_not_fit_is_named_before_the_loop(bundle: Bundle) -> None:
    latents, times = np.zeros((5, 4, 4, 4), np.float32), np.zeros((3, 2, 2), np.float32)
    constants = {
        "context_kv": np.zeros((2, 231), np.float32),
        "rows": np.zeros(2, np.int32),
        "guidance": np.zeros((5, 2), np.float32),
    }
    coefficients = np.zeros((3, 8), np.float32)
    with (
        HostBackend(bundle) as backend,
        pytest.raises(InvalidInputError, match=r"denoiser: latents has batch 5, .* allows 1\.\.4"),
    ):
        backend.denoise(latents, constants, times, coefficients, None)


class Adder:
    """An executor by address: next_latents = latents + the first coefficient."""

    moves = True

    def __init__(self, obstacle: str | None = None) -> None:
        self.enqueued = 0
        self._obstacle = obstacle
        self._addresses: Mapping[str, int] = {}

    def bind(self, addresses: Mapping[str, int]) -> None:
        self._addresses = addresses

    def enqueue(self) -> None:
        self.enqueued += 1
        latents, result, coefficients = (
            np.ctypeslib.as_array(_floats(self._addresses[name]))
            for name in ("latents", "next_latents", "coefficients")
        )
        result[:] = latents + coefficients[0]

    def obstacle_to_recording(self) -> str | None:
        return self._obstacle


def _floats(address: int) -> Any:
    import ctypes

    return (ctypes.c_float * 16).from_address(address)


def run_adder(executor: Adder, times: int) -> Any:
    plan: LoopPlan = plan_loop(3, tensors(), draws_noise=False)
    loop = DeviceLoop(HostDevice(), plan, [executor])
    values = {name: np.zeros(one.shape, one.dtype) for name, one in tensors().items()}
    coefficients = np.array([1, 10, 100], np.float32)[:, None, None] * np.ones((3, 1, 8), "f4")
    rows = pack_rows(
        plan, {"time_embeds": np.zeros((3, 1, 200), "f2"), "coefficients": coefficients}
    )
    for _ in range(times):
        result = loop.run(values["latents"], values, rows)
    return result


def test_each_step_is_bound_to_its_own_row() -> None:
    assert (run_adder(Adder(), 1) == 111).all()


def test_a_recorded_loop_gives_what_the_first_run_gave() -> None:
    np.testing.assert_array_equal(run_adder(Adder(), 3), run_adder(Adder(), 1))


def test_a_loop_that_cannot_be_recorded_says_why_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "trt_pipeline"):
        assert (run_adder(Adder("a reason"), 3) == 111).all()
    assert caplog.messages == ["the loop is enqueued step by step: a reason"]


@pytest.mark.parametrize(
    ("text", "kind", "advice"),
    [
        ("cudaErrorMemoryAllocation: out of memory", DeviceMemoryError, "fewer or smaller"),
        ("BFCArena::AllocateRawInternal Failed to allocate memory", DeviceMemoryError, "fewer"),
        ("cudaErrorInsufficientDriver: CUDA driver version is insufficient",
         DeviceUnavailableError, "newer driver"),
        ("cudaErrorIllegalAddress: an illegal memory access was encountered",
         DeviceUnavailableError, "was lost"),
        ("cudaErrorNoKernelImageForDevice: no kernel image is available for execution",
         DeviceUnavailableError, "another backend"),
        ("something else", BackendError, "failed on the GPU"),
    ],
)  # fmt: skip
def test_failures_of_the_gpu_say_what_to_do(
    text: str, kind: type[BackendError], advice: str
) -> None:
    error = device_error("denoiser", RuntimeError(text))
    assert type(error) is kind
    assert str(error).startswith("denoiser")
    assert advice in str(error)
    assert "\n" not in str(error)
