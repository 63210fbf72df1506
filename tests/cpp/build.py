"""The build of runtime/cpp that the tests use, and its program."""

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trt_pipeline import load_bundle
from trt_pipeline.backends import openvino_bf16, openvino_int8

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtime" / "cpp"

SANITIZE = os.environ.get("TRT_PIPELINE_SANITIZE", "")
COMPILER = "clang++" if SANITIZE and shutil.which("clang++") else "c++"
"""libFuzzer is Clang's."""


def sanitized() -> list[str]:
    """In few unoptimized parts, as compiling takes longer than running; the fuzzers are tests."""
    options = [
        f"-DTRT_PIPELINE_SANITIZE={SANITIZE}",
        *("-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0"),
        *("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=17"),
        "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON",
        *("-DTRT_PIPELINE_FUZZ=ON", "-DTRT_PIPELINE_FUZZ_SECONDS=5"),
    ]
    if COMPILER == "clang++":
        options += ["-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++"]
    return options


@dataclass(frozen=True, slots=True)
class Build:
    folder: Path
    bundle: Path

    def run(self, bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The command-line program."""
        command = [self.folder / "trt-pipeline-cpp", "--bundle", bundle, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    def backends(self, bundle: Path | None = None) -> list[str]:
        """Those that it was built with, and that can run a bundle, or this one, on this CPU."""
        cache = (self.folder / "CMakeCache.txt").read_text()
        names = [n for n in ("openvino", "onnxruntime") if f"{n.upper()}:BOOL=ON" in cache]
        if "openvino" in names and openvino_bf16.obstacle() is None:
            names.append("openvino_bf16")
        if (
            "openvino" in names
            and openvino_int8.obstacle(load_bundle(bundle or self.bundle)) is None
        ):
            names.append("openvino_int8")
        return names


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pixels(path: Path) -> NDArray[np.int32]:
    with Image.open(path) as image:
        return np.asarray(image, np.int32)
