"""The runtime as a user installs it, without the export half's packages."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT_MIB = 200


@pytest.mark.network
def test_the_runtime_takes_at_most_200_mib_and_needs_no_torch(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    requirement = f"trt-pipeline[cpu] @ {ROOT.as_uri()}"
    options: list[str | Path] = [
        "--no-compile",
        "--target",
        packages,
        "--constraint",
        ROOT / "constraints.txt",
    ]
    subprocess.run([*pip, *options, requirement], check=True)
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    assert size <= LIMIT_MIB * 2**20
    names = {path.name for path in packages.iterdir()}
    assert {"trt_pipeline", "onnxruntime"} <= names
    assert names.isdisjoint({"torch", "transformers", "diffusers"})
