"""Engines of TensorRT for RTX, built for named targets; no GPU is needed for that."""

import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trt_export.cli import command
from trt_export.engines.build import build_engines, planned_engines
from trt_export.engines.options import EngineOptions
from trt_export.engines.plan import set_targets
from trt_export.engines.targets import engine_targets
from trt_export.export import ExportReport
from trt_export.families.ldm_text_to_image import FAMILY
from trt_export.quantization.bundles import quantize_bundle
from trt_pipeline.backends.device.engine_choice import fitting_engine, machine_of
from trt_pipeline.backends.device.tensorrt import load_engine
from trt_pipeline.bundle import Bundle, load_bundle, manifest_json
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli
from trt_pipeline.errors import (
    EngineBuildError,
    EngineMismatchError,
    IntegrityError,
    InvalidInputError,
)
from trt_pipeline.flavours import messages
from trt_pipeline.machine import compute_capability

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")

RTX = EngineOptions("tensorrt_rtx", ("8.9",), optimization_level=0)
PORTABLE = EngineOptions(
    "tensorrt_rtx", optimization_level=0, hardware_compatibility_level="ampere_plus"
)


@pytest.fixture(scope="session")
def engines(other_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """OTHER's bundle with its engines for compute capability 8.9."""
    folder = tmp_path_factory.mktemp("engines") / "bundle"
    shutil.copytree(other_bundle, folder)
    report = build_engines(folder, RTX)
    assert len(report.built) == len(FAMILY.graphs)
    return load_bundle(folder)


def test_every_graph_has_a_plan_that_the_manifest_lists(engines: Bundle) -> None:
    assert [engine.graph for engine in engines.engines] == list(FAMILY.graphs)
    assert {engine.path for engine in engines.engines} <= engines.files.keys()


def test_a_key_names_what_makes_the_plan_stale(engines: Bundle) -> None:
    key = next(engine.key for engine in engines.engines if engine.graph == "denoiser")
    onnx = engines.files[engines.graph("denoiser", "fp16").path]
    assert (key.flavour, key.compute_capability, key.precision) == ("tensorrt_rtx", "8.9", "fp16")
    assert key.onnx_sha256 == onnx.sha256
    assert key.profile["latents"].min == (1, 3, 10, 10)
    assert key.profile["latents"].max == (3, 3, 10, 10)
    assert key.profile["rows"].opt == (2,)


def test_engines_with_the_right_key_are_kept(engines: Bundle) -> None:
    before = {path: path.stat().st_mtime_ns for path in engines.path.rglob("*")}
    report = build_engines(engines.path, RTX)
    assert (report.built, len(report.kept)) == ((), len(FAMILY.graphs))
    assert {path: path.stat().st_mtime_ns for path in engines.path.rglob("*")} == before


def test_a_target_named_twice_is_built_once(other_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(other_bundle, tmp_path / "bundle"))
    build_engines(folder, replace(RTX, compute_capabilities=("8.9", "8.9")))
    assert len(load_bundle(folder, verify="full").engines) == len(FAMILY.graphs)


def test_another_profile_replaces_the_engine(engines: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(engines.path, tmp_path / "bundle"))
    report = build_engines(folder, replace(RTX, static=True))
    assert "time_embedding" not in {engine.graph for engine in report.built}
    plans = {path.relative_to(folder).as_posix() for path in folder.rglob("*.plan")}
    assert plans == {engine.path for engine in load_bundle(folder).engines}


INTERRUPTED = """
import signal, sys
from pathlib import Path
from trt_export.engines.build import build_engines
from trt_export.engines.options import EngineOptions

def interrupt(build, step, steps):
    if build == "build denoiser":
        signal.raise_signal(signal.SIGINT)

options = EngineOptions("tensorrt_rtx", ("8.9",), optimization_level=0)
build_engines(Path(sys.argv[1]), options, interrupt)
"""
"""A build that gets a Ctrl-C, in a process of its own, as one would end the tests' as well."""


def test_an_interrupted_build_goes_on_with_the_next_engine(
    other_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(other_bundle, tmp_path / "bundle"))
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED, folder], capture_output=True)
    assert ended.returncode == -signal.SIGINT, ended.stderr
    built = [engine.graph for engine in build_engines(folder, RTX).kept]
    assert built == ["text_encoder", "time_embedding"]


def test_what_a_killed_build_left_is_removed(engines: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(engines.path, tmp_path / "bundle"))
    left = folder / "tensorrt_rtx" / "sm89" / ".denoiser.plan.new"
    left.touch()
    build_engines(folder, RTX)
    assert not left.exists()


def test_a_damaged_graph_is_never_built_from(other_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(other_bundle, tmp_path / "bundle"))
    weights = folder / "onnx" / "denoiser.weights"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"onnx/denoiser.weights has another sha256"):
        build_engines(folder, RTX)


def test_a_target_that_the_flavour_refuses_is_named(other_bundle: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"compute capability 9\.0, only for 7\.5"):
        build_engines(other_bundle, replace(RTX, compute_capabilities=("9.0",)))


@pytest.mark.skipif(compute_capability() is not None, reason="needs a machine without a GPU")
def test_without_a_gpu_a_target_must_be_named(other_bundle: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no GPU here .*--compute-capability: 7.5"):
        build_engines(other_bundle, replace(RTX, compute_capabilities=()))


def test_ampere_plus_is_one_engine_for_every_newer_gpu(
    engines: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(engines.path, tmp_path / "bundle"))
    keep_time_embedding(folder)
    build_engines(folder, PORTABLE)
    bundle = load_bundle(folder, verify="full")
    own = fitting_engine(bundle, "time_embedding", machine_of(engines.engines[0].key))
    portable = fitting_engine(
        bundle, "time_embedding", replace(machine_of(own.key), compute_capability="12.1")
    )
    assert (own.key.target, portable.key.target) == ("8.9", "ampere_plus")
    assert bundle.files[portable.path].size < 1.01 * bundle.files[own.path].size
    assert console.run(cli, ["inspect", str(folder)]) == 0
    assert f"{portable.key.version} for ampere_plus, 0." in capsys.readouterr().out


def keep_time_embedding(folder: Path) -> None:
    """Leave one graph in a bundle, the one whose plan is built soonest."""
    bundle = load_bundle(folder)
    graphs = {"time_embedding": bundle.graphs["time_embedding"]}
    engines = tuple(engine for engine in bundle.engines if engine.graph in graphs)
    small = replace(bundle, graphs=graphs, engines=engines)
    (folder / "bundle.json").write_text(manifest_json(small))


def test_ampere_plus_needs_no_compute_capability() -> None:
    with pytest.raises(InvalidInputError, match=r"8\.0 and newer: leave --compute-capability out"):
        engine_targets(tensorrt_rtx, replace(PORTABLE, compute_capabilities=("8.9",)))


def test_bfloat16_replaces_half_precision_and_is_kept(engines: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(engines.path, tmp_path / "bundle"))
    keep_time_embedding(folder)
    options = replace(RTX, engine_precision="bf16")
    assert len(build_engines(folder, options).built) == 1
    (engine,) = load_bundle(folder, verify="full").engines
    assert engine.key.precision == "bf16"
    assert fitting_engine(load_bundle(folder), "time_embedding", machine_of(engine.key)) == engine
    assert len(build_engines(folder, options).kept) == 1


def test_a_decoder_beyond_float16_becomes_a_float32_engine(
    wide_export: ExportReport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(wide_export.bundle.path, tmp_path / "bundle"))
    options = replace(RTX, engine_precision="bf16")
    planned = planned_engines(load_bundle(folder), options, [])
    assert planned[-1] == "decoder as tensorrt_rtx engine for 8.9, fp32"
    with caplog.at_level("INFO", "trt_export.engines.plan"):
        build_engines(folder, RTX)
    bundle = load_bundle(folder, verify="full")
    keys = {engine.graph: engine.key for engine in bundle.engines}
    assert {name: key.precision for name, key in keys.items()} == {
        "time_embedding": "fp16",
        "denoiser": "fp16",
        "cached_denoiser": "fp16",
        "decoder": "fp32",
    }
    float32 = bundle.files[bundle.graph("decoder", "fp32").path]
    assert keys["decoder"].onnx_sha256 == float32.sha256
    assert re.search(r"decoder: \d+ convolutions and matrix products are fp32", caplog.text)
    fitting = fitting_engine(bundle, "decoder", machine_of(keys["decoder"]))
    assert fitting.key.precision == "fp32"
    assert len(build_engines(folder, RTX).kept) == 4


@pytest.fixture(scope="session")
def eight_bits(quantized_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """OTHER's bundle with the fp8 engine of its denoiser and the fp16 ones of others."""
    folder = Path(shutil.copytree(quantized_bundle, tmp_path_factory.mktemp("fp8") / "bundle"))
    build_engines(folder, replace(RTX, engine_precision="fp8"))
    return load_bundle(folder)


def test_eight_bits_are_for_the_denoiser(eight_bits: Bundle) -> None:
    keys = {engine.graph: engine.key for engine in eight_bits.engines}
    assert {name for name, key in keys.items() if key.precision == "fp8"} == {"denoiser"}
    assert {key.precision for key in keys.values()} == {"fp16", "fp8"}
    int8 = eight_bits.files[eight_bits.graph("denoiser", "int8").path]
    assert keys["denoiser"].onnx_sha256 == int8.sha256


def test_an_engine_of_another_calibration_is_stale(
    eight_bits: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(eight_bits.path, tmp_path / "bundle"))
    machine = machine_of(eight_bits.engines[0].key)
    assert fitting_engine(load_bundle(folder), "denoiser", machine).key.precision == "fp8"
    quantize_bundle(folder, ["a blue square"])
    with pytest.raises(EngineMismatchError, match=r"denoiser: the engine was .* another ONNX"):
        fitting_engine(load_bundle(folder), "denoiser", machine)
    int8 = replace(RTX, engine_precision="int8")
    with caplog.at_level("INFO", "trt_export.engines.plan"):
        assert [engine.graph for engine in build_engines(folder, int8).built] == ["denoiser"]
    assert "denoiser: 127 convolutions and matrix products are int8" in caplog.text
    assert fitting_engine(load_bundle(folder), "denoiser", machine).key.precision == "int8"


def test_a_bundle_that_is_not_quantized_has_no_8_bit_engines(other_bundle: Path) -> None:
    options = replace(RTX, engine_precision="int8")
    with pytest.raises(InvalidInputError, match=r"int8: .* is not quantized\. Add --quantize"):
        build_engines(other_bundle, options)
    planned = planned_engines(load_bundle(other_bundle), options, ["denoiser", "decoder"])
    assert planned == [
        "denoiser as tensorrt_rtx engine for 8.9, int8",
        "decoder as tensorrt_rtx engine for 8.9, fp16",
    ]


@pytest.mark.parametrize(
    "options",
    [replace(RTX, compute_capabilities=("8.9", "8.6")), PORTABLE],
    ids=["8.6", "portable"],
)
def test_a_gpu_without_float8_is_named(options: EngineOptions) -> None:
    with pytest.raises(
        InvalidInputError, match=r"8\.[06] has no float8 arithmetic, 8\.9 and newer"
    ):
        engine_targets(tensorrt_rtx, replace(options, engine_precision="fp8"))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"version_compatible": True}, "run only with the release that built them"),
        ({"hardware_compatibility_level": "same_compute_capability"}, "is for every GPU of its"),
    ],
)
def test_compatibility_that_the_flavour_lacks_is_refused(option: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        engine_targets(tensorrt_rtx, replace(RTX, **option))


def test_targets_of_a_key_reach_the_builder(engines: Bundle) -> None:
    config = tensorrt_rtx.Builder(messages(tensorrt_rtx)).create_builder_config()
    key = engines.engines[0].key
    set_targets(tensorrt_rtx, config, replace(key, hardware_compatibility_level="ampere_plus"))
    assert config.num_compute_capabilities == 0
    set_targets(tensorrt_rtx, config, replace(key, version_compatible=True))
    assert config.get_compute_capability(0) == tensorrt_rtx.ComputeCapability.SM89
    assert config.get_flag(tensorrt_rtx.BuilderFlag.VERSION_COMPATIBLE)


def test_sizes_outside_the_bundle_are_refused(other_bundle: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"--heights 36:80: must be multiples of 8"):
        build_engines(other_bundle, replace(RTX, heights=(36, 80)))
    with pytest.raises(
        InvalidInputError,
        match=r"--heights 80:9000: .* 32..320 pixels",
    ):
        build_engines(other_bundle, replace(RTX, heights=(80, 9000)))


def test_sizes_outside_the_bundle_are_refused_before_the_export(
    other_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["--engines", "tensorrt_rtx", "--compute-capability", "8.9", "--heights", "36:80"]
    arguments = [str(other_checkpoint), "--out", str(tmp_path / "bundle"), *target]
    assert console.run(command, arguments) == 2
    assert "--heights 36:80: must be multiples of 8" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_dry_run_names_the_engines_that_are_missing(
    other_checkpoint: Path, other_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--max-batch", "3", "--engines", "tensorrt_rtx", "--compute-capability", "8.9"]
    arguments = [str(other_checkpoint), "--out", str(other_bundle), *options, "--dry-run"]
    assert console.run(command, arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("is up to date; no graph to export.")
    assert lines[1] == "would build text_encoder as tensorrt_rtx engine for 8.9, fp16"
    assert len(lines) == 1 + len(FAMILY.graphs)


def test_an_operator_that_tensorrt_rejects_is_named(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    from trt_export.engines.plan import parse

    node = helper.make_node("Det", ["matrix"], ["volume"], name="determinant")
    matrix = helper.make_tensor_value_info("matrix", TensorProto.FLOAT, [3, 3])
    volume = helper.make_tensor_value_info("volume", TensorProto.FLOAT, [])
    graph = helper.make_graph([node], "g", [matrix], [volume])
    save(helper.make_model(graph), tmp_path / "g.onnx")
    trt = pytest.importorskip("tensorrt_rtx")
    log = messages(trt)
    with pytest.raises(EngineBuildError, match=r"rejects Det determinant"):
        parse(trt, trt.Builder(log), log, "g", tmp_path / "g.onnx")


def test_a_float32_graph_is_not_half_precision(other_bundle: Path) -> None:
    from trt_export.engines.plan import check_precision, parse

    trt = pytest.importorskip("tensorrt_rtx")
    log = messages(trt)
    builder = trt.Builder(log)
    graph = load_bundle(other_bundle).graph("decoder", "fp32")
    network = parse(trt, builder, log, "decoder", other_bundle / graph.path)
    with pytest.raises(EngineBuildError, match=r"decoder: (\d+) of \1 convolutions"):
        check_precision(trt, "decoder", network)


@pytest.mark.skipif(compute_capability() is not None, reason="needs a machine without a GPU")
def test_a_plan_that_is_not_valid_here_is_never_deserialized(engines: Bundle) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    runtime = trt.Runtime(messages(trt))
    here = machine_of(engines.engines[0].key)
    with pytest.raises(EngineMismatchError, match=r"decoder: TensorRT for RTX .* is not valid on"):
        load_engine(trt, runtime, engines, "decoder", here)
