"""8-bit convolutions and linear layers in an ONNX graph, as a rounding before each.

Symmetric, a scale for each channel of the weights and one for each layer's input (arXiv:2004.09602,
section 3). A runtime that is able to computes such layers in 8 bits; others see the rounding only.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Ranges: TypeAlias = Mapping[str, float]
"""Name of a layer → largest magnitude of its input."""

INT8, FP8 = ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN
LARGEST = {INT8: 127, FP8: 448}
KEPT = ("conv_in.", "conv_shortcut.")
"""In the names of weights of convolutions that keep their precision. They see latents, or the sum
of all layers before, in which a few channels are large."""
HEAD = "head."
"""How the names of a denoiser's last layers begin, which no others follow: nothing evens out what
they do. A twentieth of the work and, with KEPT, nine tenths of the error."""
SMALLEST_SCALE = float(np.finfo(np.float16).tiny)


class Layer(NamedTuple):
    """A convolution, or a product with constants, in a graph."""

    node: ir.Node
    input: ir.Value
    factor: ir.Value
    """What the input is multiplied with."""
    weights: ir.TensorProtocol
    """The factor as it is stored, before it is cast or rounded."""

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
    """Round the weights and inputs of the layers that ranges names to INT8 or FP8."""
    rounded: dict[ir.Value, ir.Value] = {}
    for layer in [layer for layer in layers(model.graph) if layer.name in ranges]:
        if layer.input not in rounded:
            scale = np.array(ranges[layer.name] / LARGEST[dtype])
            rounded[layer.input] = _round(model.graph, layer.node, layer.input, scale, dtype)
        factor = _round_weights(model.graph, layer, dtype)
        layer.node.replace_input_with(0, rounded[layer.input])
        layer.node.replace_input_with(1, factor)
    return model


def ranges_of(model: ir.Model) -> dict[str, float]:
    """The ranges that an int8 graph was made with."""
    ranges: dict[str, float] = {}
    for layer in layers(model.graph):
        rounding = layer.input.producer()
        scale = _stored(rounding.inputs[1]) if rounding and len(rounding.inputs) == 3 else None
        if scale:
            ranges[layer.name] = float(scale.numpy()) * LARGEST[INT8]
    return ranges


def _round_weights(graph: ir.Graph, layer: Layer, dtype: ir.DataType) -> ir.Value:
    axis, dims = layer.channel_axis, len(layer.weights.shape)
    others = tuple(other for other in range(dims) if other != axis)
    largest = np.abs(layer.weights.numpy()).max(axis=others).astype(np.float32)
    return _round(graph, layer.node, layer.factor, largest / LARGEST[dtype], dtype, axis)


def _round(
    graph: ir.Graph,
    node: ir.Node,
    value: ir.Value,
    scale: NDArray[np.floating],
    dtype: ir.DataType,
    axis: int | None = None,
) -> ir.Value:
    """A value quantized and dequantized, before a node."""
    wide = (value.dtype or ir.DataType.FLOAT).numpy()
    arrays = {
        "scale": np.maximum(scale, SMALLEST_SCALE).astype(wide),
        "zero_point": np.zeros(scale.shape, dtype.numpy()),
    }
    constants = [_constant(graph, f"{value.name}.{n}", array) for n, array in arrays.items()]
    options = [] if axis is None else [ir.AttrInt64("axis", axis)]
    codes = ir.Value(name=f"{value.name}.codes", shape=value.shape, type=ir.TensorType(dtype))
    result = ir.Value(name=f"{value.name}.rounded", shape=value.shape, type=value.type)
    quantize = ir.Node("", "QuantizeLinear", [value, *constants], options, outputs=[codes])
    dequantize = ir.Node("", "DequantizeLinear", [codes, *constants], options, outputs=[result])
    graph.insert_before(node, [quantize, dequantize])
    return result


def _constant(graph: ir.Graph, name: str, array: NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    shape, kind = ir.Shape(array.shape), ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def _stored(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The constant that a value is, before casts and roundings; None if it is none."""
    while value is not None and value.const_value is None:
        source = value.producer()
        if source is None or source.op_type not in ("Cast", "QuantizeLinear", "DequantizeLinear"):
            return None
        value = source.inputs[0]
    return value.const_value if value is not None else None
