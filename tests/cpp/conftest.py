"""Builds runtime/cpp into a temporary folder, for the tests of this folder.

TRT_PIPELINE_CMAKE_ARGS adds arguments for CMake, such as those that switch ONNX Runtime on.
TRT_PIPELINE_SANITIZE builds everything with those sanitizers, such as address,undefined, quickly
rather than for speed, and runs the fuzzers for seconds; the installed library is then not tested,
as programs that use it would need the sanitizers as well.
TRT_PIPELINE_BUILD names a build folder to bring up to date instead of a temporary one, and
TRT_PIPELINE_BUNDLE a bundle of the embedded checkpoint instead of one exported now, and
TRT_PIPELINE_FAMILIES a folder of bundles as tests/cpp/families.py writes them.
"""

import os
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cpp.build import COMPILER, SANITIZE, SOURCE, Build, call, sanitized
from tests.runtime.tiny_bundle import write_tiny_bundle
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.quantization.bundles import quantize_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint's; under sanitizers a tiny one, as they see nothing of a backend."""
    if given := os.environ.get("TRT_PIPELINE_BUNDLE"):
        return Path(given)
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    if SANITIZE:
        return write_tiny_bundle(out).path
    export_checkpoint(open_checkpoint(None), out, ExportOptions(), lambda _: None)
    quantize_bundle(out, ["a red circle"])
    return out


@pytest.fixture(scope="session")
def build(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    missing = [tool for tool in ("cmake", COMPILER, "pkg-config") if not shutil.which(tool)]
    assert not missing, (
        f"{', '.join(missing)} is not installed; docs/guide/cpp.md lists the packages"
    )
    openvino = find_spec("openvino")
    assert openvino, 'openvino is not installed; pip install "trt-pipeline[openvino]"'
    given = os.environ.get("TRT_PIPELINE_BUILD")
    folder = Path(given) if given else tmp_path_factory.mktemp("cpp")
    call(
        *("cmake", "-S", SOURCE, "-B", folder),
        f"-DOpenVINO_DIR={Path(str(openvino.origin)).parent / 'cmake'}",
        f"-DTRT_PIPELINE_BUNDLE={bundle}",
        *("-DTRT_PIPELINE_TESTS=ON", "-DTRT_PIPELINE_BENCHMARK=ON", "-DTRT_PIPELINE_WERROR=ON"),
        "-DCMAKE_INSTALL_LIBDIR=lib",
        *(sanitized() if SANITIZE else ()),
        *shlex.split(os.environ.get("TRT_PIPELINE_CMAKE_ARGS", "")),
    )
    call("cmake", "--build", folder, "--parallel", "2")
    return Build(folder, bundle)
