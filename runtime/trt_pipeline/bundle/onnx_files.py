"""ONNX files: where each keeps its weights, before any runtime opens it.

A runtime follows the paths in an ONNX file. A bundle's may only name the weight file that the
manifest has for the graph, which lies beside it. They are read straight off the protobuf encoding
(https://protobuf.dev/programming-guides/encoding, field numbers of onnx.proto), since the runtime
does not need the onnx package.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import GraphPrecision
from trt_pipeline.errors import BundleError, IntegrityError

MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Message → number of a field → the message in it, where tensors with external data may lie."""
KEY, VALUE = 1, 2
"""Fields of an entry."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""
MAX_DEPTH = 100
"""Protobuf's own limit."""


def onnx_file(bundle: Bundle, name: str, precision: GraphPrecision) -> Path:
    """Path of a graph's ONNX file, whose only weight file is the one that the manifest says.

    BundleError if the bundle has no such graph or the file is not ONNX, IntegrityError if it names
    another file.
    """
    graph = bundle.graph(name, precision)
    path = bundle.file(graph.path)
    try:
        locations = set(external_locations(path.read_bytes()))
    except (ValueError, IndexError, OSError) as error:
        raise BundleError(f"{path} is not an ONNX file ({error}). Export again.") from None
    folder = PurePosixPath(graph.path).parent
    for location in sorted(locations):
        if str(folder / PurePosixPath(location).name) != graph.weights or "/" in location:
            raise IntegrityError(
                f"{path} keeps weights in {location!r:.200}, but its manifest says "
                f"{graph.weights}. Do not use this bundle; export the checkpoint again."
            )
    return path


def external_locations(model: bytes) -> Iterator[str]:
    """The files that the tensors of an ONNX model name; ValueError for what is not protobuf."""
    waiting = [("model", memoryview(model), 0)]
    while waiting:
        message, content, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deep")
        if message == "entry":
            yield from _location(content)
            continue
        inner = MESSAGES[message]
        waiting += [
            (inner[number], value, depth + 1)
            for number, value in _fields(content)
            if number in inner
        ]


def _location(entry: memoryview) -> Iterator[str]:
    fields = [(number, bytes(value)) for number, value in _fields(entry)]
    if (KEY, b"location") in fields:  # a key or value given twice is the last to some readers
        yield from (value.decode() for number, value in fields if number == VALUE)


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of every field of a message that holds bytes."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        if tag >= 2**32:  # where some readers would drop the upper digits
            raise ValueError(f"a field number too large at byte {at}")
        kind = tag & 7
        if kind == VARINT:
            _, at = _varint(content, at)
        elif kind == BYTES:
            size, at = _varint(content, at)
            yield tag >> 3, content[at : at + size]
            at += size
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
    if at > len(content):
        raise ValueError("it ends within a field")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError(f"a number too long at byte {at}")
