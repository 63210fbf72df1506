"""A bundle and every GPU backend that can run it here."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from trt_export.engines.build import build_engines
from trt_export.engines.options import EngineOptions
from trt_pipeline import Bundle, Pipeline, load_bundle, trt_pipeline
from trt_pipeline.backends import BACKENDS, open_backend
from trt_pipeline.backends.base import Backend
from trt_pipeline.bundle.manifest import FLAVOURS
from trt_pipeline.errors import TrtPipelineError

CPU_BACKENDS = ("onnxruntime", "openvino", "openvino_bf16", "openvino_int8")
GPU_BACKENDS = [name for name in BACKENDS if name not in CPU_BACKENDS]


@pytest.fixture(scope="session")
def gpu_bundle(other_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """OTHER's bundle, with engines of every flavour that builds for this GPU.

    TRT_PIPELINE_BUNDLE names another bundle, whose engines are taken as they are.
    """
    given = os.environ.get("TRT_PIPELINE_BUNDLE")
    if given:
        return load_bundle(given)
    folder = Path(shutil.copytree(other_bundle, tmp_path_factory.mktemp("gpu") / "bundle"))
    for flavour in FLAVOURS:
        if find_spec(flavour):
            try:
                build_engines(folder, EngineOptions(flavour))
            except (TrtPipelineError, RuntimeError) as error:  # the test that needs it says so
                print(f"{flavour}: {error}")
    return load_bundle(folder)


@pytest.fixture(scope="session", params=GPU_BACKENDS)
def gpu_backend(gpu_bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A backend, opened once, so that no test pays for the engines of another."""
    try:
        backend, _ = open_backend(gpu_bundle, request.param, None)
    except TrtPipelineError as error:
        pytest.skip(str(error))
    with backend:
        yield backend


@pytest.fixture(scope="session")
def gpu_pipe(gpu_bundle: Bundle, gpu_backend: Backend) -> Pipeline:
    return Pipeline(gpu_bundle, gpu_backend)


@pytest.fixture(scope="session")
def cpu_pipe(gpu_bundle: Bundle) -> Iterator[Pipeline]:
    """The same bundle on ONNX Runtime's CPU."""
    with trt_pipeline(gpu_bundle, backend="onnxruntime") as pipe:
        yield pipe
