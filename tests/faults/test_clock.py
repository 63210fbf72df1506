"""Files of the past and the future, as a clock's steps leave them: nothing is lost or believed."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from trt_export.publishing.hashes import Hashes
from trt_export.publishing.work_folder import WorkFolder
from trt_pipeline import Bundle, IntegrityError, load_bundle, trt_pipeline
from trt_pipeline.locking import one_at_a_time

TIMES = (0, 4_000_000_000)
"""In 1970 and in 2096."""
TICK = 0.02
"""Seconds after which a kernel's file times have moved."""

times = pytest.mark.parametrize("seconds", TIMES)


def set_times(folder: Path, seconds: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (seconds, seconds))


@times
def test_an_open_pipeline_draws_the_same(own_bundle: Bundle, seconds: int) -> None:
    settings: dict[str, Any] = {"seed": 0, "num_inference_steps": 2, "progress_bar": False}
    with trt_pipeline(own_bundle, threads=1) as pipe:
        before = pipe("a red circle", **settings).images[0]
        set_times(own_bundle.path, seconds)
        after = pipe("a red circle", **settings).images[0]
        pipe("a red circle", image=before, **settings)  # opens the encoder only now
    assert after.tobytes() == before.tobytes()


@times
def test_a_change_is_seen_whatever_its_time(
    own_bundle: Bundle, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trt_pipeline.bundle.integrity.SETTLED_NS", 0)
    set_times(own_bundle.path, seconds)
    load_bundle(own_bundle.path)
    time.sleep(TICK)
    weights = own_bundle.path / "onnx" / "denoiser.weights"
    weights.write_bytes(weights.read_bytes()[::-1])
    set_times(own_bundle.path, seconds)
    with pytest.raises(IntegrityError, match=r"denoiser.weights has another sha256"):
        load_bundle(own_bundle.path)


def test_a_file_of_the_future_is_read_every_time(
    own_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: set[object] = set()
    monkeypatch.setattr("trt_pipeline.bundle.integrity._verified", verified)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    load_bundle(own_bundle.path)
    assert not verified


@times
def test_a_source_that_changed_is_hashed_again(tmp_path: Path, seconds: int) -> None:
    path, hashes = tmp_path / "model.safetensors", Hashes({})
    path.write_bytes(b"one")
    set_times(tmp_path, seconds)
    before = hashes.of("model", path)
    time.sleep(TICK)
    path.write_bytes(b"two")
    set_times(tmp_path, seconds)
    assert hashes.of("model", path) != before


@times
def test_an_export_goes_on_with_its_stage(tmp_path: Path, seconds: int) -> None:
    work = WorkFolder.open(tmp_path / "target", "key")
    work.stage("trace", lambda: 1)
    set_times(tmp_path, seconds)
    assert WorkFolder.open(tmp_path / "target", "key").is_done("trace")


@times
def test_a_lock_is_held(tmp_path: Path, seconds: int) -> None:
    with one_at_a_time(tmp_path / "bundle"):
        set_times(tmp_path, seconds)
        child = os.fork()
        if not child:
            with one_at_a_time(tmp_path / "bundle", lambda _: os._exit(3)):
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
