"""Another type for what is float16 in an ONNX graph."""

from collections.abc import Callable
from typing import TypeAlias

import onnx_ir as ir

Convert: TypeAlias = Callable[[ir.TensorProtocol], ir.TensorProtocol]


def retype_nodes(graph: ir.Graph, dtype: ir.DataType, convert: Convert) -> None:
    """Give every node's float16 casts, outputs and constants, which `convert` turns, a type."""
    for node in graph.all_nodes():
        for attribute in list(node.attributes.values()):
            _retype_attribute(node, attribute, dtype, convert)
        for output in node.outputs:
            retype(output, dtype)


def retype(value: ir.Value, dtype: ir.DataType) -> None:
    """Declare a value to be of another type if it is float16."""
    if value.dtype == ir.DataType.FLOAT16:
        value.dtype = dtype


def _retype_attribute(
    node: ir.Node, attribute: ir.Attr, dtype: ir.DataType, convert: Convert
) -> None:
    if attribute.name in ("to", "dtype") and attribute.as_int() == ir.DataType.FLOAT16:
        node.attributes[attribute.name] = ir.AttrInt64(attribute.name, dtype)
    elif attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        if tensor.dtype == ir.DataType.FLOAT16:
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, convert(tensor))
