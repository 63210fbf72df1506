"""Bundles, prompts and pictures made to harm: an error of the project, soon, in little memory."""

import gc
import hashlib
import json
import resource
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.test_bundle import edit
from trt_pipeline import (
    Bundle,
    BundleError,
    IntegrityError,
    InvalidInputError,
    Pipeline,
    TrtPipelineError,
    load_bundle,
    trt_pipeline,
)
from trt_pipeline.bundle import MAX_MANIFEST_BYTES, PARALLEL_BYTES, verify_files
from trt_pipeline.bundle.manifest import FileSpec
from trt_pipeline.pictures.image_inputs import open_picture
from trt_pipeline.text.vocabulary import MAX_FILE_BYTES, read_vocabulary

SECONDS = 1.0
MEMORY = 256 * 2**20
"""Bytes that the largest manifest may take while it is read."""


@contextmanager
def refused(match: str, error: type[TrtPipelineError] = BundleError) -> Iterator[None]:
    """Expect an error within a second and without much memory."""
    gc.freeze()  # what other tests left would be searched for garbage again and again
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    with pytest.raises(error, match=match):
        yield
    assert time.thread_time() - started < SECONDS
    gc.unfreeze()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


def write_manifest(bundle: Bundle, text: str) -> Path:
    (bundle.path / "bundle.json").write_text(text)
    return bundle.path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * MAX_MANIFEST_BYTES, "nested too deeply"),
        ('{"a":' * (MAX_MANIFEST_BYTES // 5), "nested too deeply"),
        ("[" + "[]," * (MAX_MANIFEST_BYTES // 3 - 2) + "[]]", "does not hold a JSON object"),
        ('{"format_version": 1' + "0" * 5000 + "}", "Exceeds the limit"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        (" " * (MAX_MANIFEST_BYTES + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_manifest_made_to_harm_is_refused(own_bundle: Bundle, text: str, message: str) -> None:
    write_manifest(own_bundle, text)
    with refused(message):
        load_bundle(own_bundle.path)


def test_entries_by_the_hundred_thousand_are_refused(own_bundle: Bundle) -> None:
    doubled = ",".join(f'"{n}":0' for n in range(80_000))
    write_manifest(own_bundle, f'{{{doubled},"79999":0}}')
    with refused("'79999' appears twice"):
        load_bundle(own_bundle.path)


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        ("provenance", {"deep": nested(100)}, "nested more than 32 levels deep"),
        ("defaults", {"height": 10**30}, "defaults.height is more than"),
        ("defaults", {"guidance_scale": 10**400}, "defaults.guidance_scale is more than"),
        ("model", {"context_tokens": 10**9}, "context_tokens is 1000000000, expected 0 to 65536"),
        ("schedule", {"alphas_cumprod": [2.0, 1.5]}, "between 0 and 1 that never rise"),
        ("schedule", {"alphas_cumprod": []}, "between 0 and 1 that never rise"),
        ("files", {"A/../../x": {"size": 1, "sha256": 64 * "0"}}, "leaves the bundle"),
        ("files", {"VOCAB.txt": {"size": 1, "sha256": 64 * "0"}}, "too much like 'vocab.txt'"),
        ("files", {"vocab.txt/x": {"size": 1, "sha256": 64 * "0"}}, "is a file, and a folder of"),
    ],
)
def test_an_entry_made_to_harm_is_named(
    own_bundle: Bundle, entry: str, change: dict[str, object], message: str
) -> None:
    before = json.loads((own_bundle.path / "bundle.json").read_text())[entry]
    edit(own_bundle, **{entry: {**before, **change}})
    with refused(message):
        load_bundle(own_bundle.path)


def test_a_file_declared_larger_than_it_is_is_refused(own_bundle: Bundle) -> None:
    before = json.loads((own_bundle.path / "bundle.json").read_text())["files"]
    huge = {"size": 2**62, "sha256": 64 * "0"}
    edit(own_bundle, files={**before, "onnx/denoiser.weights": huge})
    with refused("says 4611686018427387904", IntegrityError):
        load_bundle(own_bundle.path)


def test_a_vocabulary_of_gigabytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "vocab.txt").open("wb") as stream:
        stream.truncate(4 * 2**30)
    with refused(f"is larger than {MAX_FILE_BYTES} bytes"):
        read_vocabulary(tmp_path / "vocab.txt")


def test_a_prompt_of_megabytes_is_refused(pipe: Pipeline) -> None:
    with refused("prompt 0 has 8000000 characters, expected at most 131072", InvalidInputError):
        pipe("a red " * 1_333_333 + "ci", num_inference_steps=1, progress_bar=False)


@pytest.mark.filterwarnings("ignore:the model reads 77 tokens")
def test_the_longest_prompt_takes_less_than_a_second(pipe: Pipeline) -> None:
    started = time.process_time()
    pipe("éß文 " * 2**15, num_inference_steps=1, progress_bar=False)
    assert time.process_time() - started < SECONDS


def test_control_characters_are_as_nothing(pipe: Pipeline) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 1, "seed": 0, "progress_bar": False}
    plain = pipe("a red circle", **settings).images[0]
    assert pipe("a\0 red\x07 circle\x1b\ufffd", **settings).images[0].tobytes() == plain.tobytes()


def test_half_of_a_surrogate_pair_is_named(pipe: Pipeline) -> None:
    with refused("half of a surrogate pair", InvalidInputError):
        pipe("a red \ud83d circle", num_inference_steps=1, progress_bar=False)


def test_a_picture_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(bytes(2**20))
    chunk += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with refused("exceeds limit", InvalidInputError):
        open_picture("image", tmp_path / "bomb.png")


def test_files_removed_after_opening_are_missed_only_where_they_are_still_to_be_read(
    own_bundle: Bundle,
) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 2, "seed": 0, "progress_bar": False}
    with trt_pipeline(own_bundle, threads=1) as pipe:
        shutil.rmtree(own_bundle.path)
        picture = pipe("a red circle", **settings).images[0]
        with refused(r"encoder.onnx cannot be read \(No such file", IntegrityError):
            pipe("a red circle", image=picture, **settings)


def test_of_large_files_the_damaged_one_is_named(tmp_path: Path) -> None:
    content = bytes(PARALLEL_BYTES)
    good = FileSpec(len(content), hashlib.sha256(content).hexdigest())
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(content)
    verify_files(tmp_path, {"a": good, "b": good})
    with refused("b has another sha256", IntegrityError):
        verify_files(tmp_path, {"a": good, "b": replace(good, sha256=64 * "0")})
