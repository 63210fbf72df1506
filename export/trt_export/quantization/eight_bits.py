"""8-bit convolutions and linear layers in an ONNX graph: weights stored so, inputs rounded before.

Symmetric, a scale for each channel of the weights and one for each layer's input (arXiv:2004.09602,
section 3). A runtime that is able to computes such layers in 8 bits; others see the rounding only.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

Ranges: TypeAlias = Mapping[str, float]
"""Name of a layer → largest magnitude of its input."""

INT8, FP8 = ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN
LARGEST = {INT8: 127, FP8: 448}
KEPT = ("conv_in.", "conv_shortcut.")
"""In the names of weights of convolutions that keep their precision. They see latents, or the sum
of all layers before, in which a few channels are large."""
HEAD = "head."
"""How the names of a denoiser's last layers begin, which no others follow: nothing evens out what
they do. A fourteenth of a full-size step and, with KEPT, four fifths of the error."""
SMALLEST_SCALE = float(np.finfo(np.float16).tiny)


class Layer(NamedTuple):
    """A convolution, or a product with constants, in a graph."""

    node: ir.Node
    input: ir.Value
    factor: ir.Value
    """What the input is multiplied with."""
    weights: ir.TensorProtocol
    """The factor as it is stored, before it is cast or dequantized."""

    @property
    def name(self) -> str:
        """The same in graphs of every precision."""
        return str(self.node.name)

    @property
    def channel_axis(self) -> int:
        """Of the weights: the layer's output channels."""
        return 0 if self.node.op_type == "Conv" else len(self.weights.shape) - 1


def layers(graph: ir.Graph) -> Iterator[Layer]:
    """Those that 8 bits are for."""
    for node in graph:
        if node.op_type in ("Conv", "MatMul"):
            source, factor = node.inputs[:2]
            weights = _stored(factor)
            if not (source and factor and weights):
                continue
            if str(factor.name).startswith(HEAD):
                return
            if not any(name in str(factor.name) for name in KEPT):
                yield Layer(node, source, factor, weights)


def quantized(model: ir.Model, ranges: Ranges, dtype: ir.DataType) -> ir.Model:
    """Store the weights of the layers that ranges names as INT8 or FP8, and round their inputs."""
    rounded: dict[ir.Value, ir.Value] = {}
    for layer in [layer for layer in layers(model.graph) if layer.name in ranges]:
        if layer.input not in rounded:
            rounded[layer.input] = _rounded(model.graph, layer, ranges[layer.name], dtype)
        layer.node.replace_input_with(0, rounded[layer.input])
        layer.node.replace_input_with(1, _narrow_weights(model.graph, layer, dtype))
    RemoveUnusedNodesPass()(model)
    return model


def ranges_of(model: ir.Model) -> dict[str, float]:
    """The ranges that an int8 graph was made with."""
    ranges: dict[str, float] = {}
    for layer in layers(model.graph):
        rounding = layer.input.producer()
        if rounding and rounding.op_type == "DequantizeLinear":
            scale = _stored(rounding.inputs[1])
            assert scale
            ranges[layer.name] = float(scale.numpy()) * LARGEST[INT8]
    return ranges


def _rounded(graph: ir.Graph, layer: Layer, largest: float, dtype: ir.DataType) -> ir.Value:
    """A layer's input after QuantizeLinear and DequantizeLinear."""
    value = layer.input
    scale = _scale(np.array(largest), dtype, value)
    codes = ir.Value(name=f"{value.name}.codes", shape=value.shape, type=ir.TensorType(dtype))
    constants = _scale_and_zero_point(graph, value, scale, dtype)
    quantize = ir.Node("", "QuantizeLinear", [value, *constants], outputs=[codes])
    graph.insert_before(layer.node, quantize)
    return _dequantized(graph, layer.node, value, codes, constants)


def _narrow_weights(graph: ir.Graph, layer: Layer, dtype: ir.DataType) -> ir.Value:
    """A layer's factor from weights of 8 bits, which are made when they are written."""
    weights, axis = layer.weights, layer.channel_axis
    others = tuple(other for other in range(len(weights.shape)) if other != axis)
    scale = _scale(np.abs(weights.numpy()).max(axis=others), dtype, layer.factor)
    name = f"{layer.factor.name}.codes"

    def make() -> ir.TensorProtocol:
        numbers = weights.numpy().astype(np.float32) / np.expand_dims(
            scale.astype(np.float32), others
        )
        whole = np.rint(numbers) if dtype == INT8 else numbers
        return ir.tensor(whole.astype(dtype.numpy()), name=name)

    shape = ir.Shape(weights.shape.numpy())
    tensor = ir.LazyTensor(make, dtype=dtype, shape=shape, name=name)
    codes = _initializer(graph, name, tensor)
    constants = _scale_and_zero_point(graph, layer.factor, scale, dtype)
    return _dequantized(graph, layer.node, layer.factor, codes, constants, axis)


def _scale(
    largest: NDArray[np.floating], dtype: ir.DataType, value: ir.Value
) -> NDArray[np.floating]:
    """One step of the 8-bit numbers, in a value's own type."""
    wide = (value.dtype or ir.DataType.FLOAT).numpy()
    steps = np.maximum(largest.astype(np.float32) / LARGEST[dtype], SMALLEST_SCALE)
    scale: NDArray[np.floating] = steps.astype(wide)
    return scale


def _scale_and_zero_point(
    graph: ir.Graph, value: ir.Value, scale: NDArray[np.floating], dtype: ir.DataType
) -> list[ir.Value]:
    arrays = {"scale": scale, "zero_point": np.zeros(scale.shape, dtype.numpy())}
    return [
        _initializer(graph, f"{value.name}.{name}", ir.tensor(array, name=f"{value.name}.{name}"))
        for name, array in arrays.items()
    ]


def _dequantized(
    graph: ir.Graph,
    node: ir.Node,
    value: ir.Value,
    codes: ir.Value,
    constants: list[ir.Value],
    axis: int | None = None,
) -> ir.Value:
    """What 8-bit codes of a value stand for, before a node."""
    options = [] if axis is None else [ir.AttrInt64("axis", axis)]
    result = ir.Value(name=f"{value.name}.rounded", shape=value.shape, type=value.type)
    dequantize = ir.Node("", "DequantizeLinear", [codes, *constants], options, outputs=[result])
    graph.insert_before(node, dequantize)
    return result


def _initializer(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def _stored(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The constant that a value is, before it is cast or dequantized; None if it is none."""
    while value is not None and value.const_value is None:
        source = value.producer()
        if source is None or source.op_type not in ("Cast", "DequantizeLinear"):
            return None
        value = source.inputs[0]
    return value.const_value if value is not None else None
