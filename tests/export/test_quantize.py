"""The 8-bit form of a graph: which layers it rounds, and how."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trt_export.quantization.eight_bits import FP8, INT8, layers, quantized, ranges_of

WEIGHTS = np.array([[127, 3], [-1.4, 0.013]], np.float32)


def product(factor: str = "w", weights: NDArray[np.float32] = WEIGHTS) -> ir.Model:
    """y = x · w"""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    node = helper.make_node("MatMul", ["x", factor], ["y"], name="layer")
    constants = [numpy_helper.from_array(weights, factor)]
    graph = helper.make_graph([node], "g", [x], [y], constants)
    opset = [helper.make_opsetid("", 20)]
    return ir.from_proto(helper.make_model(graph, opset_imports=opset, ir_version=10))


def answer(model: ir.Model, x: list[list[float]]) -> NDArray[np.float32]:
    content = ir.to_proto(model).SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    y: NDArray[np.float32] = session.run(["y"], {"x": np.array(x, np.float32)})[0]
    return y


@pytest.mark.parametrize("dtype", [INT8, FP8])
def test_weights_are_stored_in_8_bits_alone(dtype: ir.DataType) -> None:
    model = quantized(product(), {"layer": 1.0}, dtype)
    large = [value.dtype for value in model.graph.initializers.values() if value.shape == [2, 2]]
    assert large == [dtype]


def test_weights_are_rounded_in_steps_of_each_channel() -> None:
    rows = answer(quantized(product(), {"layer": 127}, INT8), [[1, 0], [0, 1]])
    step = 3 / 127
    expected = np.array([[127, 3], [-1, step]])
    np.testing.assert_allclose(rows, expected, rtol=1e-6)


def test_inputs_are_rounded_in_steps_of_their_range_and_end_there() -> None:
    model = quantized(product(weights=np.eye(2, dtype=np.float32)), {"layer": 12.7}, INT8)
    np.testing.assert_allclose(answer(model, [[0.26, 99]]), [[0.3, 12.7]], rtol=1e-6)


def test_float8_has_four_bits_of_every_number() -> None:
    weights = np.array([[448, 0], [17, 448]], np.float32)
    rows = answer(quantized(product(weights=weights), {"layer": 448}, FP8), [[1, 0], [0, 1]])
    np.testing.assert_allclose(rows, [[448, 0], [16, 448]], rtol=1e-6)


def test_a_layer_without_a_range_stays_as_it_is() -> None:
    model = quantized(product(), {"other": 1.0}, INT8)
    assert [node.op_type for node in model.graph] == ["MatMul"]


def test_a_range_of_zero_divides_nothing_by_zero() -> None:
    model = quantized(product(weights=np.zeros((2, 2), np.float32)), {"layer": 0.0}, INT8)
    assert answer(model, [[1, 2]]).tolist() == [[0, 0]]


def test_ranges_are_read_back() -> None:
    model = quantized(product(), {"layer": 12.7}, INT8)
    assert ranges_of(model) == {"layer": pytest.approx(12.7)}
    assert ranges_of(product()) == {}


@pytest.mark.parametrize("name", ["unet.conv_in.weight", "a.conv_shortcut.weight", "head.weight"])
def test_layers_of_wide_ranges_and_the_last_ones_are_left_alone(name: str) -> None:
    assert [*layers(product(name).graph)] == []


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_denoiser_has_the_same_layers_in_every_precision(
    other_bundle: Path, precision: str
) -> None:
    graph = ir.load(other_bundle / "onnx" / f"denoiser.{precision}.onnx").graph
    found = [*layers(graph)]
    heavy = [node for node in graph if node.op_type in ("Conv", "MatMul")]
    assert len({layer.name for layer in found}) == len(found) == 127
    assert len(heavy) == 176  # with 36 products in attention, and 13 layers that stay
