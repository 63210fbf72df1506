"""No path of an ONNX file leads out of a bundle."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import onnx
import pytest
from onnx import helper

from trt_pipeline import Bundle, BundleError, IntegrityError, trt_pipeline
from trt_pipeline.bundle import file_sha256
from trt_pipeline.bundle.manifest import FileSpec
from trt_pipeline.bundle.onnx_files import external_locations, onnx_file


def external(location: str) -> onnx.TensorProto:
    """A tensor whose content lies in another file."""
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="length", value="4")
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_initializer(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph([], "g", [], [], initializer=[tensor]))


def in_attribute(tensor: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_branch(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branch = helper.make_graph([], "branch", [], [], initializer=[tensor])
    node = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    function = helper.make_function("local", "f", [], ["c"], [node], [])
    return helper.make_model(helper.make_graph([], "g", [], []), functions=[function])


def in_sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    indices = helper.make_tensor("i", onnx.TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(tensor, indices, [4])
    return helper.make_model(helper.make_graph([], "g", [], [], sparse_initializer=[sparse]))


def in_training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = helper.make_model(helper.make_graph([], "g", [], []))
    model.training_info.add().algorithm.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    "place", [in_initializer, in_attribute, in_branch, in_function, in_sparse, in_training]
)
def test_a_location_is_found_wherever_a_tensor_may_be(
    place: Callable[[onnx.TensorProto], onnx.ModelProto],
) -> None:
    model = place(external("/etc/passwd")).SerializeToString()
    assert set(external_locations(model)) == {"/etc/passwd"}


def test_every_location_is_found_if_one_is_given_twice() -> None:
    tensor = external("good.weights")
    tensor.external_data.add(key="location", value="/etc/passwd")
    model = in_initializer(tensor).SerializeToString()
    assert set(external_locations(model)) == {"good.weights", "/etc/passwd"}


@pytest.mark.parametrize("content", [b"\x0b", b"\x3a\x05ab", b"\xff" * 11, b"\x3a", b"\x09abc"])
def test_what_is_no_protobuf_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(external_locations(content))


def relist(bundle: Bundle, name: str) -> None:
    """Make the manifest fit a file that was changed."""
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    path = bundle.path / name
    manifest["files"][name] = asdict(FileSpec(path.stat().st_size, file_sha256(path)))
    (bundle.path / "bundle.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "location", ["../../secret", "/etc/passwd", "vocab.txt", "decoder.weights"]
)
def test_a_model_that_leads_elsewhere_is_not_opened(
    own_bundle: Bundle, tmp_path: Path, location: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(4))
    path = own_bundle.path / "onnx" / "denoiser.onnx"
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = location if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    relist(own_bundle, "onnx/denoiser.onnx")
    with pytest.raises(IntegrityError, match=r"keeps weights in .* but its manifest says onnx/den"):
        trt_pipeline(own_bundle.path)


def test_a_file_that_is_no_onnx_is_not_opened(own_bundle: Bundle) -> None:
    (own_bundle.path / "onnx" / "denoiser.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(BundleError, match="is not an ONNX file"):
        onnx_file(own_bundle, "denoiser", "fp32")
