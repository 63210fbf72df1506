"""Fuzzing, guided by coverage, of what a stranger may send; needs atheris.

    pip install "trt-pipeline[fuzz]"
    python -m tests.faults.fuzz manifest -max_total_time=60

What is read: manifest, vocabulary, merges, safetensors, picture, settings (in a picture that is
whole), onnx, or arguments (of trt-pipeline, one a line). Options are libFuzzer's
(https://llvm.org/docs/LibFuzzer.html). An error that is not the project's ends the run, as do
too much time or memory; the input that did it is then in a file crash-…, timeout-… or oom-….
"""

import contextlib
import io
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["trt_pipeline"]):
    from tests.golden.make_byte_pair import FOLDER, byte_pair
    from tests.runtime.tiny_bundle import wordpiece, write_tiny_bundle
    from trt_pipeline import TrtPipelineError
    from trt_pipeline.bundle import manifest_json, parse_json, parse_manifest
    from trt_pipeline.bundle.onnx_files import external_locations
    from trt_pipeline.command_line import console
    from trt_pipeline.command_line.cli import cli
    from trt_pipeline.pictures.metadata import (
        SETTINGS_CHUNK,
        read_settings,
        settings_json,
    )
    from trt_pipeline.settings import Settings
    from trt_pipeline.text.tokenizer import Tokenizer

LIMITS = ("-timeout=5", "-rss_limit_mb=2048", "-max_len=4096", "-len_control=0")
"""Seconds and MiB that an input may take, and its bytes, from the start."""
SETTINGS = Settings(prompt="a red circle", seed=3, num_inference_steps=2, height=1, width=1)
HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
"""Of a safetensors file."""


def read_manifest(data: bytes) -> None:
    """bundle.json."""
    parse_manifest(Path(), parse_json(Path(), data))


def read_vocabulary(data: bytes) -> None:
    """vocab.txt."""
    Tokenizer(written("vocab.txt", data).parent, wordpiece()).encode(["a red circle"])


def read_merges(data: bytes) -> None:
    """merges.txt, of a vocabulary of CLIP's."""
    written("vocab.txt", (FOLDER / "vocab.txt").read_bytes())
    Tokenizer(written("merges.txt", data).parent, byte_pair(folder="")).encode(["a red circle"])


def read_safetensors(data: bytes) -> None:
    """A weight file."""
    with atheris.instrument_imports(include=["trt_export"]):  # here, as it imports torch
        from trt_export.checkpoint.files.tensors import read_weights

    read_weights(written("model.safetensors", data))


def read_picture(data: bytes) -> None:
    """What --from names."""
    read_settings(written("a.png", data))


def read_settings_text(data: bytes) -> None:
    """What such a picture says of itself."""
    read_picture(png(data.decode("latin-1")))


def read_onnx(data: bytes) -> None:
    """An ONNX file; onnx_file makes a BundleError of both errors."""
    with contextlib.suppress(ValueError, IndexError):
        list(external_locations(data))


def read_arguments(data: bytes) -> None:
    """A command line."""
    argv = [os.fsdecode(line) for line in data.split(b"\n")]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        status = console.run(cli, argv)
    if status not in (0, console.FAILURE, console.USAGE):
        raise AssertionError(f"exit status {status}")


def written(name: str, data: bytes) -> Path:
    """A file with this content."""
    path = Path(name)
    path.write_bytes(data)
    return path


def png(text: str) -> bytes:
    """A picture with a text chunk."""
    chunks, stream = PngInfo(), io.BytesIO()
    chunks.add_text(SETTINGS_CHUNK, text)
    Image.new("1", (1, 1)).save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


READERS: dict[str, Callable[[bytes], None]] = {
    "manifest": read_manifest,
    "vocabulary": read_vocabulary,
    "merges": read_merges,
    "safetensors": read_safetensors,
    "picture": read_picture,
    "settings": read_settings_text,
    "onnx": read_onnx,
    "arguments": read_arguments,
}


def seeds() -> dict[str, bytes]:
    """Reader → an input that it accepts."""
    tiny = write_tiny_bundle(Path("tiny"))
    short = replace(tiny.schedule, alphas_cumprod=(0.9, 0.5))
    text = settings_json(SETTINGS, "png")
    return {
        "manifest": manifest_json(replace(tiny, schedule=short)).encode(),
        "vocabulary": Path("tiny/vocab.txt").read_bytes(),
        "merges": (FOLDER / "merges.txt").read_bytes(),
        "safetensors": struct.pack("<Q", len(HEADER)) + HEADER + bytes(4),
        "picture": png(text),
        "settings": text.encode(),
        "onnx": Path("tiny/onnx/denoiser.onnx").read_bytes(),
        "arguments": b"inspect\ntiny\n--json",
    }


def fuzz(name: str, options: Sequence[str]) -> None:
    """Fuzz one reader in the working folder; libFuzzer ends the process."""
    reader, seed = READERS[name], seeds()[name]
    reader(seed)
    Path("corpus").mkdir()
    written("corpus/seed", seed)

    def read(data: bytes) -> None:
        with contextlib.suppress(TrtPipelineError):
            reader(data)

    atheris.Setup(["fuzz", *LIMITS, *options, "corpus"], read)
    atheris.Fuzz()


def main() -> int:
    """Fuzz what the first argument names, in a temporary folder and a process of its own."""
    name, *options = sys.argv[1:]
    artifacts = f"-artifact_prefix={Path.cwd()}/"
    with tempfile.TemporaryDirectory() as place:
        child = os.fork()
        if not child:
            os.chdir(place)
            fuzz(name, [artifacts, *options])
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
