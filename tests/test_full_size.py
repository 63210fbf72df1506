"""The full-size twin, from random weights to a picture. Takes 6 GB of disk twice and minutes."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from trt_export.engines.build import build_engines
from trt_export.engines.options import EngineOptions
from trt_export.networks.precision import round_weights
from trt_export.quantization.bundles import quantize_bundle
from trt_pipeline import TorchGenerator, load_bundle, trt_pipeline

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "num_inference_steps": 2,
    "guidance_scale": 6.0,
    "eta": 0.3,
    "height": 64,
    "width": 64,
}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "twin"
    subprocess.run([sys.executable, "-m", "trt_export.twin", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def seconds_and_bundle(twin: Path) -> tuple[float, Path]:
    bundle = twin.with_name("bundle")
    started = time.perf_counter()
    command: list[str | Path] = [sys.executable, "-m", "trt_export", twin, "--out", bundle]
    subprocess.run(command, check=True)
    return time.perf_counter() - started, bundle


def test_the_export_takes_at_most_12_gib(
    seconds_and_bundle: tuple[float, Path],
) -> None:
    seconds, bundle = seconds_and_bundle
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    size = sum(file.size for file in load_bundle(bundle, verify="manifest").files.values())
    print(f"exported in {seconds:.0f} s, {peak:.1f} GiB at most, bundle of {size / 1e9:.2f} GB")
    assert peak < 12
    assert size < 3.1e9


@pytest.fixture(scope="module")
def quantized(seconds_and_bundle: tuple[float, Path]) -> Path:
    """The bundle with an int8 denoiser, calibrated with one picture."""
    _, bundle = seconds_and_bundle
    started = time.perf_counter()
    quantize_bundle(bundle, ["a painting of a squirrel eating a burger"])
    print(f"quantized in {time.perf_counter() - started:.0f} s")
    return bundle


def test_8_bit_layers_keep_thirty_decibels(quantized: Path) -> None:
    drawn = []
    for backend in ("openvino", "openvino_int8"):
        with trt_pipeline(quantized, backend=backend) as pipe:
            drawn.append(pipe("a cat", seed=0, output_type="np", **SETTINGS).images)
    error = float(np.mean((np.asarray(drawn[0]) - np.asarray(drawn[1])) ** 2))
    print(f"8-bit layers keep {-10 * np.log10(error):.1f} dB")
    assert -10 * np.log10(error) >= 30


def test_an_8_bit_engine_is_built_without_a_gpu(quantized: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    options = EngineOptions("tensorrt_rtx", ("8.9",), engine_precision="fp8", static=True)
    started = time.perf_counter()
    built = build_engines(quantized, options).built
    print(f"{len(built)} engines built in {time.perf_counter() - started:.0f} s")
    precisions = {engine.graph: engine.key.precision for engine in built}
    assert precisions.pop("denoiser") == "fp8"
    assert set(precisions.values()) == {"fp16"}


def test_two_steps_match_diffusers(twin: Path, seconds_and_bundle: tuple[float, Path]) -> None:
    prompt = "a painting of a squirrel eating a burger"
    theirs = DiffusionPipeline.from_pretrained(twin)
    theirs.set_progress_bar_config(disable=True)
    for component in ("bert", "unet", "vqvae"):
        round_weights(component, getattr(theirs, component))
    torch.manual_seed(0)
    expected = theirs(prompt, output_type="np", **SETTINGS).images
    del theirs
    with trt_pipeline(seconds_and_bundle[1]) as ours:
        found = ours(prompt, generator=TorchGenerator(0), output_type="np", **SETTINGS).images
    difference = np.abs(np.round(np.asarray(found) * 255) - np.round(expected * 255))
    assert (difference <= 1).mean() >= 0.999
    assert difference.max() <= 2
