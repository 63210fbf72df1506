"""Calibration: how large the inputs of a denoiser's layers become while pictures are made."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from trt_export.quantization.eight_bits import Ranges, layers
from trt_pipeline.backends import Graph
from trt_pipeline.backends.base import Tensors
from trt_pipeline.backends.onnxruntime import OnnxRuntimeBackend
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import QUANTIZED_GRAPH, Condition
from trt_pipeline.bundle.onnx_files import onnx_file
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.pipelines.pipeline import Pipeline

STEPS = 10
"""Of each picture, from noise alone to the last details."""
GUIDANCE_SCALE = 6.0
"""High, as latents grow largest there."""


def calibrate(bundle: Bundle, prompts: Sequence[str], watch: Callable[[], None]) -> "Watched":
    """Make a picture of each prompt in float32 on the CPU, and return the denoiser that watched.

    A model without prompts makes as many pictures. watch: called after each.
    InvalidInputError for a model whose condition is a picture.
    """
    check_condition(bundle.model.name, bundle.model.condition)
    backend = Calibrator(bundle)
    with Pipeline(bundle, backend) as pipe:
        for seed, prompt in enumerate(prompts):
            pipe(
                prompt if bundle.tokenizer else None,
                seed=seed,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE_SCALE if bundle.tokenizer else None,
                output_type="latent",
                progress_bar=False,
            )
            watch()
    return backend.denoiser


def check_condition(name: str, condition: Condition | None) -> None:
    """InvalidInputError for a model that needs more than prompts."""
    if condition:
        raise InvalidInputError(
            f"{name} cannot be quantized: it needs a picture ({condition}), but calibration has "
            "prompts or noise alone. Leave --quantize out."
        )


class Calibrator(OnnxRuntimeBackend):
    """ONNX Runtime on the CPU, with a denoiser that is watched."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.denoiser = Watched(bundle, QUANTIZED_GRAPH)

    def open_graph(self, name: str) -> Graph:
        """The watched graph, or another one as it is."""
        return self.denoiser if name == QUANTIZED_GRAPH else super().open_graph(name)


class Watched:
    """A graph that remembers the largest magnitude of each layer's input."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        spec = bundle.graph(name, "fp32")
        path = onnx_file(bundle, name, "fp32")
        model = ir.load(path)
        seen = {layer.name: layer.input for layer in layers(model.graph)}
        maxima = {value: _add_maximum(model.graph, value) for value in dict.fromkeys(seen.values())}
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self.middle_step: tuple[Tensors, Tensors] = {}, {}
        """Inputs and outputs of the last picture's middle step."""
        self._runs = 0
        self._maximum_of = {name: maxima[value] for name, value in seen.items()}
        self._largest = dict.fromkeys(maxima.values(), 0.0)
        self._session = _session(model, path.parent)

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """As the graph does."""
        names = [spec.name for spec in self.outputs]
        values = self._session.run([*names, *self._largest], dict(tensors))
        outputs = dict(zip(names, values[: len(names)], strict=True))
        for name, maximum in zip(self._largest, values[len(names) :], strict=True):
            self._largest[name] = max(self._largest[name], float(maximum))
        if self._runs % STEPS == STEPS // 2:
            copies = {name: tensor.copy() for name, tensor in tensors.items()}
            self.middle_step = copies, outputs
        self._runs += 1
        return outputs

    @property
    def ranges(self) -> Ranges:
        """Of all runs so far."""
        return {name: self._largest[maximum] for name, maximum in self._maximum_of.items()}


def _add_maximum(graph: ir.Graph, value: ir.Value) -> str:
    """Add an output with a value's largest magnitude; its name."""
    magnitudes = ir.Value(name=f"{value.name}.magnitudes")
    maximum = ir.Value(name=f"{value.name}.maximum", type=ir.TensorType(ir.DataType.FLOAT))
    graph.append(ir.Node("", "Abs", [value], outputs=[magnitudes]))
    whole = [ir.AttrInt64("keepdims", 0)]
    graph.append(ir.Node("", "ReduceMax", [magnitudes], whole, outputs=[maximum]))
    graph.outputs.append(maximum)
    return str(maximum.name)


def _session(model: ir.Model, weights_folder: Path) -> onnxruntime.InferenceSession:
    """Without optimizations, which would hold the weights of a full-size model in float32."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    key = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(key, str(weights_folder))
    content = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
