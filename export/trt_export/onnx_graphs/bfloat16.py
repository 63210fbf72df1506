"""bfloat16 arithmetic from a float16 graph: the range of float32, with eight bits of it.

Inputs and outputs stay what they are, so that the runtime hands the same tensors to both engines.
"""

import ml_dtypes
import onnx_ir as ir

from trt_export.onnx_graphs.retype import retype, retype_nodes

BFLOAT16 = ir.DataType.BFLOAT16


def as_bfloat16(model: ir.Model) -> ir.Model:
    """Turn float16 weights and arithmetic into bfloat16, the inputs and outputs left alone."""
    graph = model.graph
    retype_nodes(graph, BFLOAT16, _converted)
    for value in graph.initializers.values():
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT16:
            value.const_value = _converted(value.const_value)
            retype(value, BFLOAT16)
    _cast_inputs(graph)
    _cast_outputs(graph)
    return model


def _converted(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Converted when it is written, so that memory holds one tensor at a time."""
    return ir.LazyTensor(
        lambda: ir.tensor(tensor.numpy().astype(ml_dtypes.bfloat16), name=tensor.name),
        dtype=BFLOAT16,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name,
    )


def _cast_inputs(graph: ir.Graph) -> None:
    first = next(iter(graph), None)
    for value in graph.inputs:
        if value.dtype == ir.DataType.FLOAT16 and first is not None:
            inside = _like(value, "inside", BFLOAT16)
            value.replace_all_uses_with(inside)
            graph.insert_before(first, _cast(value, inside))


def _cast_outputs(graph: ir.Graph) -> None:
    for number, value in enumerate(graph.outputs):
        if value.dtype == BFLOAT16:
            outside = _like(value, "outside", ir.DataType.FLOAT16)
            value.name, outside.name = outside.name, value.name
            graph.append(_cast(value, outside))
            graph.outputs[number] = outside


def _like(value: ir.Value, suffix: str, dtype: ir.DataType) -> ir.Value:
    return ir.Value(name=f"{value.name}.{suffix}", shape=value.shape, type=ir.TensorType(dtype))


def _cast(source: ir.Value, result: ir.Value) -> ir.Node:
    to = ir.AttrInt64("to", result.dtype or ir.DataType.UNDEFINED)
    return ir.Node("", "Cast", [source], [to], outputs=[result])
