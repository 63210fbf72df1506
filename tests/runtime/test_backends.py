import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline import (
    BackendError,
    Bundle,
    InvalidInputError,
    MissingDependencyError,
    trt_pipeline,
)
from trt_pipeline.backends import BACKENDS, open_backend
from trt_pipeline.backends.onnxruntime import OnnxRuntimeBackend

from .tiny_bundle import EMBEDDING


@pytest.fixture
def backend(bundle: Bundle) -> Iterator[OnnxRuntimeBackend]:
    with OnnxRuntimeBackend(bundle, threads=1) as opened:
        yield opened


def test_a_graph_maps_names_to_arrays(backend: OnnxRuntimeBackend) -> None:
    input_ids = np.zeros((1, 77), np.int32)
    text_kv = backend.graph("text_encoder").run({"input_ids": input_ids})["text_kv"]
    np.testing.assert_array_equal(text_kv, np.broadcast_to(EMBEDDING[0], (1, 77, 3)))


def test_a_graph_states_its_tensors(backend: OnnxRuntimeBackend) -> None:
    graph = backend.graph("decoder")
    assert [(t.name, t.dtype, t.shape) for t in graph.inputs + graph.outputs] == [
        ("latents", "float32", ("batch", 4, "latent_height", "latent_width")),
        ("image", "uint8", ("batch", "height", "width", 3)),
    ]


def test_a_graph_is_opened_once(backend: OnnxRuntimeBackend) -> None:
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
    backend: OnnxRuntimeBackend, tensors: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        backend.graph("decoder").run(tensors)


def test_sizes_must_agree_between_tensors(backend: OnnxRuntimeBackend) -> None:
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
    with pytest.raises(InvalidInputError, match=r"'cuda' is unknown; choose onnxruntime"):
        trt_pipeline(bundle, backend="cuda")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_impossible_thread_counts_are_refused(bundle: Bundle, threads: int) -> None:
    with pytest.raises(InvalidInputError, match="threads must be an integer from 1"):
        open_backend(bundle, None, threads)


def test_every_usable_cpu_is_the_default(bundle: Bundle) -> None:
    with OnnxRuntimeBackend(bundle) as backend:
        assert backend.threads == len(os.sched_getaffinity(0))


def test_a_missing_package_is_named_with_its_command(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "trt-pipeline\[cpu\]"'):
        open_backend(bundle, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="no backend can run here: onnxruntime: inst"):
        open_backend(bundle, None, None)


def test_the_choice_is_logged_with_its_reason(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "trt_pipeline"):
        open_backend(bundle, None, 1)[0].close()
        open_backend(bundle, "onnxruntime", 1)[0].close()
    assert caplog.messages == [
        "backend onnxruntime for tiny: the best that can run here",
        "backend onnxruntime for tiny: as asked for",
    ]


def test_a_file_that_is_no_graph_is_a_backend_error(own_bundle: Bundle) -> None:
    (own_bundle.path / "onnx/decoder.onnx").write_bytes(b"nonsense")
    with OnnxRuntimeBackend(own_bundle, 1) as backend, pytest.raises(BackendError, match="opened"):
        backend.graph("decoder")


def test_a_closed_backend_opens_nothing(bundle: Bundle) -> None:
    with OnnxRuntimeBackend(bundle, 1) as backend:
        pass
    with pytest.raises(BackendError, match="the pipeline is closed"):
        backend.graph("decoder")


@pytest.mark.parametrize("name", BACKENDS)
def test_every_registered_backend_can_be_opened(bundle: Bundle, name: str) -> None:
    backend, _ = open_backend(bundle, name, 1)
    with backend:
        assert backend.name == name
