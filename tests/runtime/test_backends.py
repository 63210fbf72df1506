import gc
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import (
    BackendError,
    Bundle,
    InvalidInputError,
    MissingDependencyError,
    durable,
    load_bundle,
    trt_pipeline,
)
from trt_pipeline.backends import (
    Backend,
    CompiledGraph,
    compiled_models,
    open_backend,
    openvino,
    openvino_bf16,
    openvino_int8,
)
from trt_pipeline.backends.onnxruntime import OnnxRuntimeBackend
from trt_pipeline.backends.openvino import OpenVinoBackend, OpenVinoGraph
from trt_pipeline.errors import DeviceUnavailableError
from trt_pipeline.machine import compute_capability

from .tiny_bundle import EMBEDDING, WEIGHTS, write_tiny_bundle

CPU_BACKENDS = ("onnxruntime", "openvino")
BF16_OBSTACLE = openvino_bf16.obstacle()
EVERY_CPU_BACKEND = [
    *CPU_BACKENDS,
    pytest.param(
        "openvino_bf16", marks=pytest.mark.skipif(bool(BF16_OBSTACLE), reason=str(BF16_OBSTACLE))
    ),
]


@pytest.fixture(params=EVERY_CPU_BACKEND)
def backend(bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Backend]:
    with open_backend(bundle, request.param, 1)[0] as opened:
        yield opened


def test_a_graph_maps_names_to_arrays(backend: Backend) -> None:
    input_ids = np.zeros((1, 77), np.int32)
    context_kv = backend.graph("text_encoder").run({"input_ids": input_ids})["context_kv"]
    np.testing.assert_array_equal(context_kv, np.tile(EMBEDDING[0], (1, 77)))


def test_a_graph_states_its_tensors(backend: Backend) -> None:
    graph = backend.graph("decoder")
    assert [(t.name, t.dtype, t.shape) for t in graph.inputs + graph.outputs] == [
        ("latents", "float32", ("batch", 4, "latent_height", "latent_width")),
        ("image", "uint8", ("batch", "height", "width", 3)),
    ]


def test_a_graph_is_opened_once(backend: Backend) -> None:
    assert backend.graph("decoder") is backend.graph("decoder")


def latents(*shape: int, dtype: type[np.generic] = np.float32) -> dict[str, NDArray[Any]]:
    return {"latents": np.zeros(shape, dtype)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (latents(6, 4, 8, 8), r"decoder: latents has batch 6, but this bundle allows 1\.\.4\."),
        (
            latents(1, 4, 3, 8),
            r"decoder: latents has latent_height 3, but this bundle allows 4\.\.16\.",
        ),
        (
            latents(1, 3, 8, 8),
            r"decoder: latents has shape \(1, 3, 8, 8\), expected \(batch = 1, 4, lat",
        ),
        (latents(4, 8, 8), r"decoder: latents has shape \(4, 8, 8\)"),
        (latents(1, 4, 8, 8, dtype=np.float64), "decoder: latents is float64, expected float32"),
        ({"x": np.zeros(1)}, "decoder: got the inputs x, expected latents"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    backend: Backend, tensors: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        backend.graph("decoder").run(tensors)


def test_sizes_must_agree_between_tensors(backend: Backend) -> None:
    graph = backend.graph("denoiser")
    sizes = {"batch": 2, "rows": 2, "latent_height": 4, "latent_width": 4}
    tensors = {
        spec.name: np.zeros(
            [sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape], spec.dtype
        )
        for spec in graph.inputs
    }
    tensors["noise"] = tensors["noise"][:1]
    with pytest.raises(
        InvalidInputError, match=r"noise has shape .* expected \(batch = 2, 4, latent_h"
    ):
        graph.run(tensors)


def test_an_unknown_backend_is_refused_with_the_known_names(bundle: Bundle) -> None:
    with pytest.raises(
        InvalidInputError,
        match=r"'cuda' is unknown; choose tensorrt, tensorrt_rtx, onnxruntime_cuda, open",
    ):
        trt_pipeline(bundle, backend="cuda")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_impossible_thread_counts_are_refused(bundle: Bundle, threads: int) -> None:
    with pytest.raises(InvalidInputError, match="threads must be an integer from 1"):
        open_backend(bundle, None, threads)


def test_every_usable_cpu_is_the_default(bundle: Bundle) -> None:
    with OnnxRuntimeBackend(bundle) as backend:
        assert backend.threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", "cpu"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_its_command(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "trt-pipeline\[{extra}\]"'):
        open_backend(bundle, name, None)


def test_without_any_backend_every_obstacle_is_named(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CPU_BACKENDS:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("trt_pipeline.machine.compute_capability", lambda: None)
    with pytest.raises(
        MissingDependencyError,
        match=r"tensorrt: the bundle has no tensorrt engines; .*onnxruntime_cuda: there is no "
        r"NVIDIA GPU.*; openvino: install .*; onnxruntime: install",
    ):
        open_backend(bundle, None, None)


def test_the_choice_is_logged_with_its_reason(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "trt_pipeline"):
        open_backend(bundle, None, 1)[0].close()
        open_backend(bundle, "onnxruntime", 1)[0].close()
    best, asked = caplog.messages
    assert best.startswith("backend openvino for tiny: the best that can run here; tensorrt: ")
    assert asked == "backend onnxruntime for tiny: as asked for"


@pytest.mark.parametrize("name", EVERY_CPU_BACKEND)
def test_a_file_that_is_no_graph_is_a_backend_error(own_bundle: Bundle, name: str) -> None:
    (own_bundle.path / "onnx/decoder.onnx").write_bytes(b"")
    backend, _ = open_backend(own_bundle, name, 1)
    with backend, pytest.raises(BackendError, match="could not be opened"):
        backend.graph("decoder")


def test_a_closed_backend_opens_nothing(backend: Backend) -> None:
    backend.close()
    with pytest.raises(BackendError, match="the pipeline is closed"):
        backend.graph("decoder")


def test_every_backend_gives_the_same_picture(bundle: Bundle) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 6, "eta": 0.3}
    pictures = []
    for name in CPU_BACKENDS:
        with trt_pipeline(bundle, backend=name, threads=1) as pipe:
            image = pipe("a red circle", seed=0, progress_bar=False, **settings).images[0]
            pictures.append(np.asarray(image).astype(int))
    for picture in pictures[1:]:
        assert abs(picture - pictures[0]).max() <= 1


@pytest.mark.parametrize(
    ("small_bytes", "kept"), [(2**20, [6, 7, 8, 9, 10, 11, 12, 4]), (0, [10, 11, 12, 4])]
)
def test_openvino_keeps_the_shapes_used_last(
    bundle: Bundle, small_bytes: int, kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "MAX_CACHED_BYTES", small_bytes)
    with OpenVinoBackend(bundle, 1) as backend:
        graph = backend.open_graph("decoder")
        for height in (4, 5, 6, 7, 8, 9, 10, 11, 12, 4):
            graph.run(latents(1, 4, height, 8))
        assert [dict(shapes)["latents"][2] for _, shapes in graph._entries] == kept


def black_level(bundle: Bundle) -> int:
    """The pixel that the decoder makes of zeros: its weight."""
    with OpenVinoBackend(bundle, 1) as backend:
        return int(backend.graph("decoder").run(latents(1, 4, 8, 8))["image"][0, 0, 0, 0])


SIZES = {"batch": 1, "rows": 2, "latent_height": 4, "latent_width": 6}


def note_compiling(monkeypatch: pytest.MonkeyPatch, seconds: float = 0) -> list[OpenVinoGraph]:
    """The graphs that are compiled from now on, each so much later."""
    compiled: list[OpenVinoGraph] = []
    compile_one = OpenVinoGraph._compile

    def noted(graph: OpenVinoGraph, *given: Any) -> Any:
        compiled.append(graph)
        time.sleep(seconds)
        return compile_one(graph, *given)

    monkeypatch.setattr(OpenVinoGraph, "_compile", noted)
    return compiled


def test_what_was_prepared_is_not_compiled_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = note_compiling(monkeypatch)
    with open_backend(bundle, "openvino", 2)[0] as backend:
        graph = backend.graph("denoiser")
        assert isinstance(graph, CompiledGraph)
        before = set(threading.enumerate())
        graph.prepare(SIZES)
        for thread in set(threading.enumerate()) - before:
            thread.join()
        assert compiled == [graph]
        inputs = {
            spec.name: np.zeros([SIZES[d] if isinstance(d, str) else d for d in spec.shape])
            for spec in graph.inputs
        }
        graph.run({spec.name: inputs[spec.name].astype(spec.dtype) for spec in graph.inputs})
    assert compiled == [graph]


@pytest.mark.parametrize(("output_type", "graphs"), [("np", 2), ("latent", 1)])
def test_a_call_prepares_the_graphs_that_follow_its_text(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, output_type: Any, graphs: int
) -> None:
    prepared: list[dict[str, int]] = []
    monkeypatch.setattr(OpenVinoGraph, "prepare", lambda _, sizes: prepared.append(sizes))
    with trt_pipeline(bundle, backend="openvino", threads=2) as pipe:
        pipe("red", height=32, width=48, guidance_scale=2, output_type=output_type)
    assert prepared == [SIZES] * graphs


def test_a_failure_to_prepare_is_the_runs(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(OpenVinoGraph, "_compile", refuse)
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("decoder")
        assert isinstance(graph, CompiledGraph)
        graph.prepare(SIZES)
        with pytest.raises(BackendError, match="decoder: OpenVINO failed: no memory"):
            graph.run({"latents": np.zeros((1, 4, 4, 6), np.float32)})


def test_openvino_keeps_compiled_models_apart_by_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = write_tiny_bundle(tmp_path / "first")
    monkeypatch.setitem(WEIGHTS, "decoder", np.array(32, np.float32))
    second = write_tiny_bundle(tmp_path / "second")
    assert [black_level(bundle) for bundle in (first, second)] == [64, 32]
    kept = sorted((tmp_path / "cache/trt-pipeline/openvino").iterdir())
    assert len(kept) == 2
    for blob in kept:
        blob.write_bytes(blob.read_bytes()[:100])  # as a full disk would leave it
    assert [black_level(bundle) for bundle in (first, second)] == [64, 32]


def test_openvino_keeps_compiled_models_apart_by_their_arithmetic(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if BF16_OBSTACLE:
        pytest.skip(BF16_OBSTACLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for count, name in enumerate(("openvino_bf16", "openvino", "openvino"), start=1):
        with open_backend(bundle, name, 1)[0] as backend:
            backend.graph("decoder").run(latents(1, 4, 8, 8))
        assert len(list((tmp_path / "cache/trt-pipeline/openvino").iterdir())) == min(count, 2)


def test_a_cpu_without_bfloat16_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    core = openvino.import_openvino().Core
    monkeypatch.setattr(core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(BackendError, match=r"no bfloat16 arithmetic .*; take backend openvino"):
        open_backend(bundle, "openvino_bf16", 1)


def test_a_bundle_without_an_8_bit_denoiser_is_refused(bundle: Bundle) -> None:
    command = f"export-all MODEL --out {bundle.path} --quantize does it"
    assert openvino_int8.obstacle(bundle) == f"{bundle.path} is not quantized: {command}"
    with pytest.raises(
        BackendError, match=r"backend openvino_int8: .* is not quantized: export-all"
    ):
        open_backend(bundle, "openvino_int8", 1)


def test_a_kept_model_that_openvino_refuses_is_compiled_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert black_level(bundle) == 64
    (blob,) = (tmp_path / "cache/trt-pipeline/openvino").iterdir()
    durable.keep(blob, b"<another release's>")
    assert black_level(bundle) == 64
    assert durable.kept(blob) != b"<another release's>"


def test_models_unused_for_longest_make_room(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache/trt-pipeline/openvino"
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("decoder")
        graph.run(latents(1, 4, 4, 4))
        (first,) = folder.iterdir()
        graph.run(latents(1, 4, 4, 5))
        (second,) = set(folder.iterdir()) - {first}
        os.utime(second, (0, 0))
        monkeypatch.setattr(compiled_models, "MAX_BYTES", int(2.5 * first.stat().st_size))
        graph.run(latents(1, 4, 4, 6))
    kept = set(folder.iterdir())
    assert len(kept) == 2
    assert first in kept
    os.utime(first, (0, 0))
    with open_backend(bundle, "openvino", 1)[0] as backend:
        backend.graph("decoder").run(latents(1, 4, 4, 4))
    assert first.stat().st_mtime > 0


def test_openvinos_own_cache_which_changes_the_locale_is_not_used(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    core = openvino.import_openvino().Core
    configs: list[Mapping[str, str]] = []
    for name in ("compile_model", "import_model"):
        call = getattr(core, name)

        def noted(self: Any, model: Any, device: str, config: Any, call: Any = call) -> Any:
            configs.append(config)
            return call(self, model, device, config)

        monkeypatch.setattr(core, name, noted)
    assert [black_level(bundle), black_level(bundle)] == [64, 64]
    assert configs == [{"INFERENCE_PRECISION_HINT": "f32"}] * 2


def test_what_an_unverified_bundle_gives_is_not_kept(
    own_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = own_bundle.file("onnx/decoder.weights")
    genuine = weights.read_bytes()
    weights.write_bytes(np.full(len(genuine) // 4, 32, np.float32).tobytes())
    assert black_level(load_bundle(own_bundle.path, "none")) == 32
    weights.write_bytes(genuine)
    assert black_level(load_bundle(own_bundle.path)) == 64


def test_an_interrupted_call_leaves_the_pipeline_usable(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = openvino.Source.compiled
    monkeypatch.setattr(openvino.Source, "compiled", raising(KeyboardInterrupt))
    monkeypatch.setattr(Thread, "start", raising(KeyboardInterrupt))
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("decoder")
        assert isinstance(graph, CompiledGraph)
        with pytest.raises(KeyboardInterrupt):
            graph.prepare(SIZES)
        with pytest.raises(KeyboardInterrupt):
            graph.run({"latents": np.zeros((1, 4, 4, 6), np.float32)})
        monkeypatch.setattr(openvino.Source, "compiled", compiled)
        graph.run({"latents": np.zeros((1, 4, 4, 6), np.float32)})


def test_a_closed_backend_frees_its_graphs_at_once(bundle: Bundle) -> None:
    gc.collect()
    gc.disable()
    try:
        with open_backend(bundle, "openvino", 2)[0] as backend:
            graph = weakref.ref(backend.graph("decoder"))
            backend.graph("decoder").run(latents(1, 4, 4, 6))
        assert graph() is None
    finally:
        gc.enable()


def raising(error: type[BaseException]) -> Callable[..., None]:
    def interrupt(*_: Any) -> None:
        raise error

    return interrupt


def test_several_parts_of_a_call_are_prepared_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = note_compiling(monkeypatch, seconds=0.05)
    with open_backend(bundle, "openvino", 1)[0] as backend:
        graph = backend.graph("decoder")
        assert isinstance(graph, CompiledGraph)
        for _ in range(5):
            graph.prepare(SIZES)
        graph.run({"latents": np.zeros((1, 4, 4, 6), np.float32)})
    assert len(compiled) == 1


def test_openvino_runs_without_a_place_for_compiled_models(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO):
        assert black_level(bundle) == 64
    assert ".model is not kept: " in caplog.text


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_every_registered_backend_can_be_opened(bundle: Bundle, name: str) -> None:
    backend, _ = open_backend(bundle, name, 1)
    with backend:
        assert backend.name == name


@pytest.mark.skipif(compute_capability() is not None, reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnxruntime_cuda", "onnxruntime_cuda cannot run here: there is no NVIDIA GPU"),
        ("onnxruntime_tensorrt", "onnxruntime_tensorrt cannot run here: there is no NVIDIA GPU"),
        ("tensorrt_rtx", "tensorrt_rtx (needs an NVIDIA GPU|is not installed)"),
        ("tensorrt", "tensorrt (needs an NVIDIA GPU|is not installed)"),
    ],
)
def test_without_a_gpu_its_backends_say_so(bundle: Bundle, name: str, message: str) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        open_backend(bundle, name, None)
    if name.startswith("onnxruntime"):
        assert type(caught.value) is DeviceUnavailableError


def test_a_gpu_without_its_packages_is_a_missing_dependency(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trt_pipeline.machine.compute_capability", lambda: "8.9")
    monkeypatch.setattr("trt_pipeline.machine.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="onnxruntime_cuda cannot run here: install"):
        open_backend(bundle, "onnxruntime_cuda", None)
