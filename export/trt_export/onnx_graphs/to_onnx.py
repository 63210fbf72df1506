"""PyTorch modules to ONNX files: weights once on disk, one graph for each precision over them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn

from trt_export.networks.signatures import graph_outputs
from trt_export.onnx_graphs.retype import retype, retype_nodes
from trt_export.onnx_graphs.translations import translation_table
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import GraphPrecision, GraphSpec, Precision, TensorSpec
from trt_pipeline.errors import CheckpointError

OPSET = 20
INLINE_BYTES = 1024
"""Constants up to this size stay inside the .onnx file."""
FOLDER = "onnx"


def trace(
    name: str, module: nn.Module, inputs: tuple[TensorSpec, ...], example: Mapping[str, Tensor]
) -> ir.Model:
    """Trace a module on an example of its inputs, with every named dimension left free."""
    dynamic = {
        spec.name: {axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}
        for spec in inputs
    }
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                kwargs=dict(example),
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in inputs],
                output_names=list(graph_outputs(name, example)),
                dynamic_shapes=dynamic,
                custom_translation_table=translation_table(),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise CheckpointError(
            f"{name}: this checkpoint's architecture cannot be exported with free sizes; "
            "--debug shows PyTorch's reasons."
        ) from error
    model = cast("torch.onnx.ONNXProgram", program).model
    _strip(model)
    _check_dimensions(name, model, inputs)
    return model


def save(name: str, model: ir.Model, bundle: Path) -> None:
    """Write a traced graph; a float16 graph also in float32, over the same weights."""
    folder = bundle / FOLDER
    folder.mkdir(exist_ok=True)
    stored: Precision = "fp16" if _uses_half(model) else "fp32"
    path = folder / f"{name}.{stored}.onnx"
    ir.save(model, path, external_data=_weights(name), size_threshold_bytes=INLINE_BYTES)
    if stored == "fp16":
        ir.save(widen(ir.load(path)), folder / f"{name}.fp32.onnx")
    for file in _files(name, bundle).values():
        onnx.checker.check_model(file, full_check=True)


def read_specs(name: str, bundle: Path) -> dict[GraphPrecision, GraphSpec]:
    """Describe the files that save() wrote for a graph."""
    return {precision: _graph_spec(name, path) for precision, path in _files(name, bundle).items()}


def _weights(name: str) -> str:
    return f"{name}.weights"


def _files(name: str, bundle: Path) -> dict[GraphPrecision, Path]:
    paths: dict[GraphPrecision, Path] = {
        "fp16": bundle / FOLDER / f"{name}.fp16.onnx",
        "fp32": bundle / FOLDER / f"{name}.fp32.onnx",
    }
    return {precision: path for precision, path in paths.items() if path.is_file()}


def widen(model: ir.Model) -> ir.Model:
    """Turn float16 arithmetic into float32; large weights stay float16 and are cast when loaded."""
    graph = model.graph
    retype_nodes(graph, ir.DataType.FLOAT, _wide)
    for value in graph.inputs:
        retype(value, ir.DataType.FLOAT)
    casts = [_widen_initializer(graph, value) for value in list(graph.initializers.values())]
    first = next(iter(graph), None)
    new = [cast for cast in casts if cast is not None]
    if first is not None and new:
        graph.insert_before(first, new)
    _remove_casts_to_self(graph)
    return model


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype("float32"), name=tensor.name)


def _widen_initializer(graph: ir.Graph, value: ir.Value) -> ir.Node | None:
    if value.const_value is None or value.dtype != ir.DataType.FLOAT16:
        return None
    if not isinstance(value.const_value, ir.ExternalTensor):
        value.const_value = _wide(value.const_value)
        retype(value, ir.DataType.FLOAT)
        return None
    wide = ir.Value(
        name=f"{value.name}.float32", shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT)
    )
    value.replace_all_uses_with(wide)
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", ir.DataType.FLOAT)], outputs=[wide])


def _remove_casts_to_self(graph: ir.Graph) -> None:
    for node in list(graph.all_nodes()):
        source, result = node.inputs[0] if node.inputs else None, node.outputs[0]
        is_output = result in graph.outputs
        if node.op_type == "Cast" and source and source.dtype == result.dtype and not is_output:
            result.replace_all_uses_with(source)
            graph.remove(node, safe=True)


def _strip(model: ir.Model) -> None:
    """Drop the exporter's debugging notes, among them stack traces with this machine's paths."""
    nodes = list(model.graph.all_nodes())
    results = [value for node in nodes for value in node.outputs]
    values = [*model.graph.inputs, *model.graph.initializers.values(), *results]
    noted: list[ir.Model | ir.Graph | ir.Node | ir.Value] = [model, model.graph, *nodes, *values]
    for item in noted:
        item.metadata_props.clear()
        item.doc_string = None


def _uses_half(model: ir.Model) -> bool:
    return any(v.dtype == ir.DataType.FLOAT16 for v in model.graph.initializers.values())


def _check_dimensions(name: str, model: ir.Model, inputs: tuple[TensorSpec, ...]) -> None:
    for spec, value in zip(inputs, model.graph.inputs, strict=True):
        traced = _tensor_spec(value)
        if traced != spec:
            raise CheckpointError(
                f"{name}: tracing fixed {spec.name} to {traced.shape} instead of {spec.shape}; "
                "this checkpoint's architecture cannot be exported with free sizes."
            )


def _graph_spec(name: str, path: Path) -> GraphSpec:
    graph = ir.load(path).graph
    return GraphSpec(
        path=f"{FOLDER}/{path.name}",
        weights=f"{FOLDER}/{_weights(name)}",
        inputs=tuple(map(_tensor_spec, graph.inputs)),
        outputs=tuple(map(_tensor_spec, graph.outputs)),
    )


def _tensor_spec(value: ir.Value) -> TensorSpec:
    if value.name is None or value.dtype is None or value.shape is None:
        raise CheckpointError(f"tracing left {value.name} without a dtype or a shape.")
    shape = [dim if isinstance(dim, int) else str(dim.value) for dim in value.shape]
    entries = {"name": value.name, "dtype": str(value.dtype.numpy()), "shape": shape}
    return decode(TensorSpec, entries, value.name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own internals (torchvision, tree specs) to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    # Older releases of onnxscript print to stdout, which is for results.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
