"""The C++ candidate of benchmarks/latency.py, asked as the script asks it."""

import json
from pathlib import Path

import pytest

from tests.cpp.build import Build
from trt_pipeline.bench.candidate import CandidateSpec
from trt_pipeline.bench.ours import our_spec
from trt_pipeline.bench.rounds import Plan, measure
from trt_pipeline.bench.workload import Workload

pytestmark = pytest.mark.slow  # the build takes minutes

TWO_PICTURES = Workload(batch=2, num_inference_steps=3, eta=0.5)


def cpp_spec(build: Build, bundle: Path) -> CandidateSpec:
    arguments = {"bundle": str(bundle), "backend": build.backends()[0], "threads": 1}
    return CandidateSpec(
        "C++", (str(build.folder / "trt_pipeline_candidate"), json.dumps(arguments))
    )


def test_it_makes_the_pictures_of_python(build: Build, tmp_path: Path) -> None:
    python = our_spec(str(build.bundle), build.backends()[0], 1)
    plan = Plan([TWO_PICTURES], rounds=2, cold_starts=1, alone=False)
    _, row = measure([python, cpp_spec(build, build.bundle)], plan, tmp_path, print)
    assert row.error is None
    assert row.difference
    assert row.difference.largest <= 1
    assert (len(row.seconds), len(row.cold_seconds)) == (2, 1)
    assert (len(row.parts["denoiser"]), len(row.parts["total"])) == (3, 1)
    assert row.host_bytes
    assert row.host_bytes > 2**20


def test_it_says_why_it_fails(build: Build, tmp_path: Path) -> None:
    plan = Plan([TWO_PICTURES], rounds=1, cold_starts=0, alone=False)
    (row,) = measure([cpp_spec(build, tmp_path / "none")], plan, tmp_path, print)
    assert row.error
    assert "none" in row.error
