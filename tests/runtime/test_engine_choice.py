"""A plan runs on the machine of its key and on no other."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trt_pipeline import Bundle, InvalidInputError
from trt_pipeline.backends.device.engine_choice import (
    Machine,
    check_profile,
    fitting_engine,
    machine_of,
)
from trt_pipeline.backends.device.layout import Tensor
from trt_pipeline.backends.device.runtime_cache import RuntimeCache
from trt_pipeline.backends.device.tensorrt import load_engine
from trt_pipeline.bundle.manifest import EngineKey, EngineSpec, FileSpec, ShapeRange
from trt_pipeline.errors import EngineMismatchError, IntegrityError

ADA = Machine("tensorrt_rtx", "1.7.1", "8.9", "linux-x86_64")
PROFILE = {"latents": ShapeRange((1, 4, 8, 8), (1, 4, 8, 8), (2, 4, 16, 8))}


def with_engine(bundle: Bundle, sha256: str | None = None, **changes: Any) -> Bundle:
    """The bundle as if it stored half precision, with a decoder engine for ADA.

    changes: entries of the engine's key.
    """
    graph = bundle.graph("decoder", "fp32")
    key = EngineKey(
        flavour=ADA.flavour,
        version=ADA.version,
        compute_capability=ADA.compute_capability,
        platform=ADA.platform,
        precision="fp16",
        onnx_sha256=sha256 or bundle.files[graph.path].sha256,
        weights_sha256=bundle.files[graph.weights].sha256,
        profile=PROFILE,
        optimization_level=3,
    )
    key = replace(key, **changes)
    plan = "tensorrt_rtx/sm89/decoder.plan"
    return replace(
        bundle,
        graphs={**bundle.graphs, "decoder": {"fp32": graph, "fp16": graph}},
        engines=(EngineSpec("decoder", plan, key),),
        files={**bundle.files, plan: FileSpec(4, "0" * 64)},
    )


def test_the_engine_of_this_machine_is_chosen(bundle: Bundle) -> None:
    engine = fitting_engine(with_engine(bundle), "decoder", ADA)
    assert (engine.graph, machine_of(engine.key)) == ("decoder", ADA)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": "1.8.0"}, "this machine is tensorrt_rtx 1.8.0, compute capability 8.9"),
        ({"compute_capability": "12.0"}, "this machine is .* capability 12.0, linux-x86_64"),
        ({"platform": "windows-amd64"}, "this machine is .* capability 8.9, windows-amd64"),
    ],
)
def test_an_engine_of_another_machine_is_refused_with_both_keys(
    bundle: Bundle, change: dict[str, Any], told: str
) -> None:
    machine = replace(ADA, **change)
    with pytest.raises(EngineMismatchError, match=told) as raised:
        fitting_engine(with_engine(bundle), "decoder", machine)
    assert "built for tensorrt_rtx 1.7.1, compute capability 8.9, linux-x86_64" in str(raised.value)
    command = f"export-all MODEL --out {bundle.path} --engines tensorrt_rtx --compute-capability "
    assert command + machine.compute_capability in str(raised.value)


@pytest.mark.parametrize(
    ("compute_capability", "fits"),
    [("8.6", False), ("8.9", True), ("9.0", True), ("10.0", True), ("12.1", True)],
)
def test_an_ampere_plus_engine_fits_newer_gpus(
    bundle: Bundle, compute_capability: str, fits: bool
) -> None:
    bundle = with_engine(bundle, hardware_compatibility_level="ampere_plus")
    assert runs(bundle, replace(ADA, compute_capability=compute_capability)) == fits


@pytest.mark.parametrize(
    ("version", "fits"),
    [("1.7.0", False), ("1.7.1", True), ("1.7.1.2", True), ("1.10.0", True), ("2.0.0", False)],
)
def test_a_version_compatible_engine_fits_later_versions_of_its_major_one(
    bundle: Bundle, version: str, fits: bool
) -> None:
    bundle = with_engine(bundle, version_compatible=True)
    assert runs(bundle, replace(ADA, version=version)) == fits


@pytest.mark.parametrize(
    "change", [{"compute_capability": "12.0"}, {"platform": "windows-amd64"}, {"version": "2.0"}]
)
def test_an_engine_for_all_gpus_of_one_compute_capability_fits_no_other(
    bundle: Bundle, change: dict[str, Any]
) -> None:
    bundle = with_engine(
        bundle,
        hardware_compatibility_level="same_compute_capability",
        version_compatible=True,
    )
    assert not runs(bundle, replace(ADA, **change))


def runs(bundle: Bundle, machine: Machine) -> bool:
    try:
        return fitting_engine(bundle, "decoder", machine).graph == "decoder"
    except EngineMismatchError:
        return False


def test_ranges_of_compatible_engines_are_told(bundle: Bundle) -> None:
    bundle = with_engine(
        bundle, hardware_compatibility_level="ampere_plus", version_compatible=True
    )
    told = r"1\.7\.1, compute capability 8\.9, linux-x86_64 and newer GPUs and newer versions, but"
    with pytest.raises(EngineMismatchError, match=told):
        fitting_engine(bundle, "decoder", replace(ADA, version="1.7.0"))


def test_an_engine_for_this_gpu_alone_is_preferred(bundle: Bundle) -> None:
    bundle = with_engine(bundle)
    (own,) = bundle.engines
    portable = replace(own, key=replace(own.key, hardware_compatibility_level="ampere_plus"))
    bundle = replace(bundle, engines=(portable, own))
    assert fitting_engine(bundle, "decoder", ADA) == own


def test_an_engine_of_another_graph_is_refused(bundle: Bundle) -> None:
    with pytest.raises(EngineMismatchError, match="of another ONNX graph"):
        fitting_engine(with_engine(bundle, "f" * 64), "decoder", ADA)


def test_missing_engines_are_told_with_their_command(bundle: Bundle) -> None:
    with pytest.raises(
        EngineMismatchError, match=r"no tensorrt engine\. Build it with: export-all"
    ):
        fitting_engine(with_engine(bundle), "decoder", replace(ADA, flavour="tensorrt"))


def test_shapes_outside_the_profile_are_refused() -> None:
    key = with_key()
    check_profile("decoder", key, {"latents": Tensor((2, 4, 16, 8), np.dtype("f4"))})
    with pytest.raises(
        InvalidInputError,
        match=r"decoder: latents has shape \(3, 4, 8, 8\), but this engine takes \(1, 4, 8, 8\) to "
        r"\(2, 4, 16, 8\)\. Build engines with other --max-batch",
    ):
        check_profile("decoder", key, {"latents": Tensor((3, 4, 8, 8), np.dtype("f4"))})


def with_key() -> EngineKey:
    return EngineKey("tensorrt_rtx", "1", "8.9", "linux", "fp16", "0" * 64, "1" * 64, PROFILE, 3)


def test_a_plan_that_was_changed_is_never_deserialized(own_bundle: Bundle) -> None:
    bundle = with_engine(own_bundle)
    path = bundle.path / bundle.engines[0].path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"plan")
    with pytest.raises(IntegrityError, match=r"decoder.plan has another sha256"):
        load_engine(None, None, bundle, "decoder", ADA)  # neither is reached


class AskedRuntime:
    """What TensorRT's runtime is told before it gets a plan."""

    engine_host_code_allowed = False

    def deserialize_cuda_engine(self, plan: bytes) -> bytes:
        return plan


@pytest.mark.parametrize("version_compatible", [True, False])
def test_only_plans_that_bring_their_own_reader_may_run_code(
    own_bundle: Bundle, version_compatible: bool
) -> None:
    bundle = with_engine(own_bundle, version_compatible=version_compatible)
    name = bundle.engines[0].path
    (bundle.path / name).parent.mkdir(parents=True)
    (bundle.path / name).write_bytes(b"plan")
    listed = FileSpec(4, sha256(b"plan").hexdigest())
    bundle = replace(bundle, files={**bundle.files, name: listed})
    runtime = AskedRuntime()
    _, engine = load_engine(None, runtime, bundle, "decoder", ADA)
    assert engine == b"plan"
    assert runtime.engine_host_code_allowed is version_compatible


def test_a_cache_that_was_never_attached_writes_nothing(tmp_path: Path) -> None:
    RuntimeCache(tmp_path / "kernels").save()
    assert not (tmp_path / "kernels").exists()
