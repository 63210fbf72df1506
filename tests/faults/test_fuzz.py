"""Whatever is read, the only errors are the project's own.

A longer run: pytest tests/faults/test_fuzz.py --hypothesis-profile=long
"""

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.golden.make_byte_pair import FOLDER, byte_pair
from tests.runtime.tiny_bundle import VOCABULARY
from trt_export.checkpoint.files.tensors import read_weights
from trt_pipeline import Bundle, TrtPipelineError, load_bundle
from trt_pipeline.bundle import Bundle as Manifest
from trt_pipeline.bundle import manifest_json, parse_json, parse_manifest
from trt_pipeline.bundle.onnx_files import external_locations
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli
from trt_pipeline.pictures.metadata import SETTINGS_CHUNK, read_settings
from trt_pipeline.text.tokenizer import Tokenizer
from trt_pipeline.text.vocabulary import read_vocabulary

LONG = 100_000
COMMON: dict[str, Any] = {
    "deadline": 1000,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("ci", max_examples=200, derandomize=True, **COMMON)
settings.register_profile("long", max_examples=LONG, **COMMON)
if settings.get_current_profile_name() != "long":
    settings.load_profile("ci")

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "/x", "onnx", "fp16", "vocab.txt", "\ud800", "bundle.json"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@st.composite
def altered(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with something in it replaced, removed or renamed."""
    if not (isinstance(value, dict | list) and value) or draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    places = sorted(value) if isinstance(value, dict) else range(len(value))
    place = draw(st.sampled_from(list(places)))
    other = dict(value) if isinstance(value, dict) else list(value)
    if draw(st.booleans()) and draw(st.booleans()):
        del other[place]
    else:
        other[place] = draw(altered(value[place]))
    return other


def only_ours(work: Any, *arguments: Any) -> Any:
    """The result, or None after one of the project's errors."""
    try:
        return work(*arguments)
    except TrtPipelineError:
        return None


@given(data=st.data())
def test_any_manifest_is_read_or_refused(bundle: Bundle, data: st.DataObject) -> None:
    whole = json.loads(manifest_json(bundle))
    whole["schedule"]["alphas_cumprod"] = [0.9, 0.5, 0.1]  # drawing from 1000 takes long
    value = data.draw(altered(whole))
    content = json.dumps(value).encode()
    parsed = only_ours(lambda: parse_manifest(bundle.path, parse_json(bundle.path, content)))
    if parsed:
        assert isinstance(parsed, Manifest)
        again = parse_manifest(bundle.path, json.loads(manifest_json(parsed)))
        assert again == parsed


@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_refused(bundle: Bundle, content: bytes) -> None:
    only_ours(parse_json, bundle.path, content)


@given(content=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_vocabulary_is_read_or_refused(bundle: Bundle, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("\n".join(VOCABULARY).encode() + b"\n" + content)
    assert bundle.tokenizer
    only_ours(Tokenizer, tmp_path, bundle.tokenizer)
    path.write_bytes(content)
    only_ours(read_vocabulary, path)


@given(content=st.binary(max_size=300) | st.text(" abchint<>/w\n", max_size=100).map(str.encode))
def test_any_merges_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vocab.txt").write_bytes((FOLDER / "vocab.txt").read_bytes())
    (tmp_path / "merges.txt").write_bytes(content)
    only_ours(Tokenizer, tmp_path, byte_pair(folder=""))


HEADERS = st.dictionaries(
    st.text(max_size=4),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "F8_E4M3", "X"]),
            "shape": st.lists(st.integers(-1, 2**62), max_size=3),
            "data_offsets": st.lists(st.integers(-1, 2**62), max_size=3),
        }
    ),
    max_size=3,
).map(lambda header: json.dumps(header).encode()) | st.binary(max_size=60)


@given(header=HEADERS, size=st.none() | st.integers(0, 2**64 - 1), data=st.binary(max_size=40))
def test_any_safetensors_file_is_read_or_refused(
    tmp_path: Path, header: bytes, size: int | None, data: bytes
) -> None:
    path = tmp_path / "model.safetensors"
    length = struct.pack("<Q", len(header) if size is None else size)
    path.write_bytes(length + header + data)
    only_ours(read_weights, path)


SETTINGS = {
    "prompt": "a red circle",
    "seed": 3,
    "num_inference_steps": 2,
    "guidance_scale": 4.0,
    "eta": 0.5,
    "height": 1,
    "width": 1,
    "model": "tiny",
}


@given(value=altered(SETTINGS))
def test_any_settings_in_a_picture_are_read_or_refused(tmp_path: Path, value: object) -> None:
    chunks = PngInfo()
    chunks.add_text(SETTINGS_CHUNK, json.dumps(value))
    path = tmp_path / "a.png"
    Image.new("1", (1, 1)).save(path, pnginfo=chunks)
    only_ours(read_settings, path)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_an_onnx_file_or_refused(content: bytes) -> None:
    with contextlib.suppress(ValueError, IndexError):  # which onnx_file makes a BundleError
        list(external_locations(content))


ARGUMENTS = st.sampled_from(
    [
        "generate",
        "verify",
        "inspect",
        "unpack",
        "--seed",
        "--num-inference-steps",
        "-o",
        "--bundle",
        "--key",
    ]
) | st.text(st.characters(blacklist_characters="\0"), max_size=6)


@given(arguments=st.lists(ARGUMENTS, max_size=5))
def test_any_command_line_ends_with_a_documented_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert console.run(cli, arguments) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


@given(place=st.integers(0, 2**31), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_listed_file_is_accepted(
    own_bundle: Bundle, place: int, bit: int
) -> None:
    names = sorted(own_bundle.files)
    path = own_bundle.path / names[place % len(names)]
    whole = path.read_bytes()
    offset = place % len(whole)
    path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << bit]) + whole[offset + 1 :])
    with pytest.raises(TrtPipelineError, match=r"has another sha256 than bundle.json says"):
        load_bundle(own_bundle.path)
    path.write_bytes(whole)
