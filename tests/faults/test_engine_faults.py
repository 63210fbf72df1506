"""At whatever call a build ends or fails, the bundle is whole, and the next one finishes."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.faults.injection import Work
from tests.faults.test_faults import clear, every, faults, names, survive
from tests.runtime.tiny_bundle import write_tiny_bundle
from trt_export.engines.build import build_engines
from trt_export.engines.options import EngineOptions
from trt_export.publishing.signing import Signer
from trt_pipeline.bundle import Bundle, load_bundle, manifest_json
from trt_pipeline.bundle.manifest import EngineSpec, GraphPrecision, GraphSpec
from trt_pipeline.errors import IntegrityError

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")

OPTIONS = EngineOptions("tensorrt_rtx", ("8.9",), optimization_level=0)
GRAPH = "time_embedding"
"""The one whose plan is built soonest, half a second."""
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""The same one in every process."""
SIGNER = Signer(KEY)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """A signed bundle of one graph, with a plan of an older TensorRT."""
    tiny = write_tiny_bundle(tmp_path / "stale")
    graphs: dict[str, dict[GraphPrecision, GraphSpec]] = {
        GRAPH: {"fp16": tiny.graph(GRAPH, "fp32")}
    }
    write_signed(replace(tiny, precision="fp16", graphs=graphs))
    build_engines(tiny.path, OPTIONS)
    make_stale(load_bundle(tiny.path))
    return tiny.path


def make_stale(bundle: Bundle) -> None:
    (engine,) = bundle.engines
    old = EngineSpec(GRAPH, "tensorrt_rtx/old.plan", replace(engine.key, version="1.0.0.0"))
    (bundle.path / engine.path).rename(bundle.path / old.path)
    (bundle.path / engine.path).parent.rmdir()
    files = {name: file for name, file in bundle.files.items() if name != engine.path}
    files[old.path] = bundle.files[engine.path]
    write_signed(replace(bundle, files=files, engines=(old,)))


def write_signed(bundle: Bundle) -> None:
    (bundle.path / "bundle.json").write_text(manifest_json(bundle))
    SIGNER.sign(bundle.path)


def build(folder: Path) -> None:
    """As export-all --sign does."""
    build_engines(folder, OPTIONS, signer=SIGNER)
    SIGNER.sign(folder)


def is_signed(folder: Path) -> bool:
    try:
        load_bundle(folder, trusted_keys=[PUBLIC])
    except IntegrityError:
        return False
    return True


@every
@faults
def test_building_an_engine_survives(fault: str, step: int, stale: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    target = place / "bundle"
    unsigned = 0

    def prepare() -> Work:
        clear(place)
        shutil.copytree(stale, target)
        return partial(build, target)

    def check() -> None:
        nonlocal unsigned
        assert len(load_bundle(target).engines) == 1
        unsigned += not is_signed(target)
        build(target)
        (engine,) = load_bundle(target, trusted_keys=[PUBLIC]).engines
        assert engine.key.version == tensorrt_rtx.__version__
        assert [*target.rglob("*.plan")] == [target / engine.path]
        assert names(place) == ["bundle"]

    calls = survive(fault, step, prepare, check)
    print(f"build, {fault}: {calls} calls, {unsigned} without a signature that fits")
    assert calls > 10
    assert unsigned <= 1  # between the renames of the manifest and of its signature
