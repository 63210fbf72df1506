"""Timings last from build to build, and damage to them costs time only.

TensorRT for RTX has the same calls: they hold and write a cache, in which there is no timing.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trt_export.engines.timing_cache import TimingCache, timing_cache
from trt_pipeline import durable
from trt_pipeline.flavours import messages

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")

pytestmark = pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")


@pytest.fixture(scope="module")
def builder() -> Any:
    return tensorrt_rtx.Builder(messages(tensorrt_rtx))


@pytest.fixture
def kept(builder: Any, tmp_path: Path) -> Path:
    """What one build kept."""
    cache = TimingCache(tmp_path / "tensorrt" / "a.timings")
    cache.attach(builder.create_builder_config())
    cache.save()
    return cache.path


def test_the_next_build_reads_what_the_last_one_kept(builder: Any, kept: Path) -> None:
    config = builder.create_builder_config()
    TimingCache(kept).attach(config)
    content = bytes(memoryview(config.get_timing_cache().serialize()))
    assert durable.kept(kept) == content != b""


@pytest.mark.parametrize("damage", [b"", b"x" * 20, b"x" * 200])
def test_damaged_timings_are_taken_again(builder: Any, kept: Path, damage: bytes) -> None:
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    cache = TimingCache(kept)
    cache.attach(builder.create_builder_config())
    cache.save()
    assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_stops_no_build(builder: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = TimingCache(tmp_path / "file" / "a.timings")
    cache.attach(builder.create_builder_config())
    cache.save()
    assert durable.kept(cache.path) is None


def test_other_versions_have_other_timings() -> None:
    caches = [timing_cache(SimpleNamespace(__version__=version)) for version in ("10.13", "11.4")]
    assert len({cache.path for cache in caches if cache}) == 2


def test_tensorrt_for_rtx_takes_no_timings() -> None:
    assert timing_cache(tensorrt_rtx) is None
