"""The unmodified networks as plain torch.onnx.export writes them, and two engines that run the
UNet.

    python -m peers.plain_graphs unet|graphs CHECKPOINT FOLDER
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn

from trt_pipeline.backends.openvino import import_openvino

TOKENS = 77
NAMES = ("sample", "timestep", "encoder_hidden_states")
GRAPH = "model.onnx"

Forward = Callable[..., UNet2DConditionOutput]
"""What stands in for the UNet's forward."""


Example: TypeAlias = dict[str, Tensor]
Network: TypeAlias = tuple[str, nn.Module, Example]


class _Unet(nn.Module):
    """The UNet with a tensor as its output."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Any:
        return self.unet(sample, timestep, encoder_hidden_states).sample


class _TextEncoder(nn.Module):
    """CLIP with two tensors as its output."""

    def __init__(self, text_encoder: Any) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        found = self.text_encoder(input_ids.long())
        return found.last_hidden_state, found.pooler_output


class _Decoder(nn.Module):
    """The VAE's decoder with a tensor as its output."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent_sample: Tensor) -> Any:
        return self.vae.decode(latent_sample).sample


def networks(pipeline: Any, ids: torch.dtype, timestep: Tensor) -> Iterator[Network]:
    """Name, module and example of each network that a picture of Stable Diffusion needs.

    ids: type of the tokens. timestep: an example, a scalar or [1].
    """
    yield "unet", *_unet(pipeline, timestep)
    tokens = torch.zeros(2, TOKENS, dtype=ids)
    yield "text_encoder", _TextEncoder(pipeline.text_encoder).eval(), {"input_ids": tokens}
    side = pipeline.unet.config.sample_size
    latents = torch.zeros(2, pipeline.vae.config.latent_channels, side, side)
    yield "vae_decoder", _Decoder(pipeline.vae).eval(), {"latent_sample": latents}


def _unet(pipeline: Any, timestep: Tensor) -> tuple[nn.Module, Example]:
    config = pipeline.unet.config
    example = {
        "sample": torch.zeros(2, config.in_channels, *[config.sample_size] * 2),
        "timestep": timestep,
        "encoder_hidden_states": torch.zeros(2, TOKENS, config.cross_attention_dim),
    }
    return _Unet(pipeline.unet).eval(), example


def export_unet(pipeline: Any, folder: Path) -> None:
    """Write the UNet as float32 ONNX with a free batch, its weights in a file beside it."""
    _export(*_unet(pipeline, torch.tensor(1.0)), folder)


def export_graphs(pipeline: Any, folder: Path) -> None:
    """Write every network of Stable Diffusion that a picture needs."""
    for name, module, example in networks(pipeline, torch.int32, torch.tensor([1.0])):
        _export(module, example, folder / name)


def _export(module: nn.Module, example: Example, folder: Path) -> None:
    folder.mkdir(parents=True)
    batch = torch.export.Dim("batch", min=2, max=128)
    shapes = tuple({0: batch} if len(tensor.shape) > 1 else None for tensor in example.values())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # remarks of the exporter on its own internals
        torch.onnx.export(
            module,
            tuple(example.values()),
            folder / GRAPH,
            dynamo=True,
            external_data=True,
            input_names=[*example],
            dynamic_shapes=shapes,
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
    kind, checkpoint, folder = sys.argv[1:]
    pipeline = DiffusionPipeline.from_pretrained(checkpoint)
    {"unet": export_unet, "graphs": export_graphs}[kind](pipeline, Path(folder))


if __name__ == "__main__":
    main()
