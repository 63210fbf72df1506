"""The unmodified UNet as plain torch.onnx.export writes it, and two engines that run it.

    python benchmarks/plain_unet.py CHECKPOINT GRAPH

It is a module of its own with a command, so that exporting leaves no memory behind.
"""

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn

from trt_pipeline.backends.openvino import import_openvino

TOKENS = 77
NAMES = ("sample", "timestep", "encoder_hidden_states")

Forward = Callable[..., UNet2DConditionOutput]
"""What stands in for the UNet's forward."""


class _Sample(nn.Module):
    """The UNet with a tensor as its output."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Any:
        return self.unet(sample, timestep, encoder_hidden_states).sample


def export_unet(checkpoint: Path, graph: Path) -> None:
    """Write the UNet as float32 ONNX with a free batch, its weights in a file beside it."""
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet").eval()
    config = unet.config
    example = (
        torch.zeros(2, config.in_channels, config.sample_size, config.sample_size),
        torch.tensor(1.0),
        torch.zeros(2, TOKENS, config.cross_attention_dim),
    )
    batch = {0: torch.export.Dim("batch", min=2, max=128)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # remarks of the exporter on its own internals
        torch.onnx.export(
            _Sample(unet),
            example,
            graph,
            dynamo=True,
            external_data=True,
            input_names=list(NAMES),
            dynamic_shapes=(batch, None, batch),
            verbose=False,
        )


def ort_unet(graph: Path, threads: int, on_gpu: bool) -> Forward:
    """The graph in ONNX Runtime with its default options, called from the host for each step."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CUDAExecutionProvider"] if on_gpu else ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    return _forward(lambda tensors: session.run(None, tensors)[0])


def openvino_unet(graph: Path, threads: int, precision: str = "f32") -> Forward:
    """The graph in OpenVINO, compiled for the shapes of the first call and of any other.

    precision: of the arithmetic, f32 or bf16.
    """
    core = import_openvino().Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": precision})
    compiled: dict[int, Any] = {}

    def run(tensors: dict[str, Any]) -> Any:
        batch = len(tensors["sample"])
        if batch not in compiled:
            model = core.read_model(graph)
            model.reshape({name: list(tensor.shape) for name, tensor in tensors.items()})
            compiled[batch] = core.compile_model(model, "CPU").create_infer_request()
        return compiled[batch].infer(tensors)[0]

    return _forward(run)


def _forward(run: Callable[[dict[str, Any]], Any]) -> Forward:
    def forward(
        sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **_: Any
    ) -> UNet2DConditionOutput:
        tensors = (sample, timestep.float(), encoder_hidden_states)
        # Not ascontiguousarray: it would give the timestep, a scalar, a dimension.
        arrays = [np.asarray(tensor.float().cpu().numpy(), order="C") for tensor in tensors]
        found = torch.from_numpy(run(dict(zip(NAMES, arrays, strict=True))))
        return UNet2DConditionOutput(sample=found.to(sample.device, sample.dtype))

    return forward


def main() -> None:
    """Export."""
    parser = argparse.ArgumentParser(description="Export a checkpoint's UNet as plain ONNX.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("graph", type=Path)
    arguments = parser.parse_args()
    export_unet(arguments.checkpoint, arguments.graph)


if __name__ == "__main__":
    main()
