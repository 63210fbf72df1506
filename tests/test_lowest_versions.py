"""The oldest versions of packages that pyproject.toml allows: an export and its pictures."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trt_pipeline import trt_pipeline

ROOT = Path(__file__).parents[1]
EXTRAS = ("cpu", "openvino", "export", "tensorrt-rtx", "sign", "bench")
BACKENDS = ("onnxruntime", "openvino")


def lowest_versions() -> list[str]:
    """`name==version` of every requirement at its lower bound.

    PyTorch is the exception: its only CPU build for Linux that an index of packages offers is the
    one that constraints.txt names, and the others come with gigabytes of CUDA.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][extra] for extra in EXTRAS)
    declared = [*project["dependencies"], *(one for extra in extras for one in extra)]
    bounds = dict(re.findall(r"^([\w-]+)>=([\w.]+)", "\n".join(declared), re.MULTILINE))
    assert len(bounds) == len({re.split("[>;]", one)[0] for one in declared})
    (torch,) = re.findall("^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return [f"{name}=={bound}" for name, bound in {**bounds, "torch": torch}.items()]


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


@pytest.mark.network
def test_the_lowest_declared_versions_export_and_draw_the_same_picture(tmp_path: Path) -> None:
    programs, constraints = tmp_path / "venv" / "bin", tmp_path / "lowest.txt"
    bundle, prompt = tmp_path / "bundle", "a red circle"
    constraints.write_text("\n".join(lowest_versions()))
    run(sys.executable, "-m", "venv", programs.parent)
    package = f"trt-pipeline[{','.join(EXTRAS)}] @ {ROOT.as_uri()}"
    run(programs / "python", "-m", "pip", "install", "-qq", "--constraint", constraints, package)
    run(programs / "export-all", "--out", bundle, "--precision", "fp32")
    with trt_pipeline(bundle, backend="onnxruntime") as pipe:
        expected = np.asarray(pipe(prompt, seed=0).images[0]).astype(int)
    for backend in BACKENDS:
        file = tmp_path / f"{backend}.png"
        options = ("--bundle", bundle, "--backend", backend, "--seed", "0", "--output", file)
        run(programs / "trt-pipeline", "generate", prompt, *options)
        assert np.abs(np.asarray(Image.open(file)) - expected).max() <= 1
    silent = subprocess.run([programs / "trt-pipeline"], capture_output=True, text=True)
    assert (silent.returncode, silent.stdout) == (2, "")
    assert silent.stderr.startswith("Usage: trt-pipeline")
