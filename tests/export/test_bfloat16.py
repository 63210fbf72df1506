"""The bfloat16 form of a graph computes in bfloat16, and takes and gives what it did."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from trt_export.engines.plan import check_precision, parse
from trt_export.onnx_graphs.bfloat16 import as_bfloat16
from trt_pipeline.flavours import messages


def product() -> onnx.ModelProto:
    """y = x · w, in float16."""
    weight = numpy_helper.from_array(np.array([[1 + 2**-10], [70.0]], np.float16), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 1])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return helper.make_model(helper.make_graph([node], "g", [x], [y], [weight]))


def test_inputs_and_outputs_keep_their_names_and_types() -> None:
    model = onnx.load_from_string(
        ir.to_proto(as_bfloat16(ir.from_proto(product()))).SerializeToString()
    )
    ends = [*model.graph.input, *model.graph.output]
    assert [end.name for end in ends] == ["x", "y"]
    assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT16}
    assert [node.op_type for node in model.graph.node] == ["Cast", "MatMul", "Cast"]
    onnx.checker.check_model(model, full_check=True)


def test_weights_are_rounded_to_eight_bits() -> None:
    (weight,) = as_bfloat16(ir.from_proto(product())).graph.initializers.values()
    assert weight.const_value is not None
    rounded = weight.const_value.numpy()
    assert rounded.dtype == ml_dtypes.bfloat16
    assert rounded.astype(np.float32).tolist() == [[1.0], [70.0]]


@pytest.mark.parametrize("graph", ["denoiser", "decoder"])
def test_every_heavy_layer_of_a_network_is_bfloat16(
    other_bundle: Path, tmp_path: Path, graph: str
) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    path = tmp_path / "graph.onnx"
    model = as_bfloat16(ir.load(other_bundle / "onnx" / f"{graph}.fp16.onnx"))
    ir.save(model, path, external_data="graph.weights")
    log = messages(trt)
    builder = trt.Builder(log)
    network = parse(trt, builder, log, graph, path)
    check_precision(trt, graph, network, "bf16")
    half = {"context_kv", "time_embeds", "features"}
    ends = [network.get_input(n) for n in range(network.num_inputs)]
    ends += [network.get_output(n) for n in range(network.num_outputs)]
    assert {end.name for end in ends if end.dtype == trt.float16} == half & {e.name for e in ends}
