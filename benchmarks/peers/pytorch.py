"""diffusers' own pipeline, its UNet run as it is, compiled, or as a plain ONNX export.

On a GPU the weights are float16, as engines have them. The bf16 peers are for CPUs: their UNet
computes in bfloat16, the other networks in float32.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor

from fidelity import load_diffusers
from peers.plain_graphs import GRAPH, openvino_unet, ort_unet
from peers.watched import WatchedPeer
from trt_pipeline.arguments import counted
from trt_pipeline.bench.workload import Workload


class DiffusersPeer(WatchedPeer):
    """diffusers' pipeline."""

    def __init__(self, checkpoint: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.on_gpu = torch.cuda.is_available()
        self.device = (
            torch.cuda.get_device_name() if self.on_gpu else f"CPU, {counted(threads, 'thread')}"
        )
        self.arithmetic = "fp16" if self.on_gpu else "fp32"
        super().__init__(load_diffusers(Path(checkpoint), rounded=False))
        self.pipeline.scheduler = ddim(self.pipeline.scheduler)
        if self.on_gpu:
            self.pipeline.to("cuda", torch.float16)
        self.replace(part_of(self.pipeline, "text_encoder", "bert"), "forward", "text_encoder")
        self.replace(self.pipeline.unet, "forward", "denoiser")
        self.replace(part_of(self.pipeline, "vae", "vqvae"), "decode", "decoder")

    def _latents(self, workload: Workload, count: int) -> Tensor:
        unet = self.pipeline.unet
        torch.manual_seed(workload.seed)  # of the noise of eta > 0, drawn after the latents
        side = unet.config.sample_size
        return torch.randn(count, unet.config.in_channels, side, side).to(unet.dtype)

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def part_of(pipeline: Any, *names: str) -> Any:
    """The part that has one of these names."""
    return next(getattr(pipeline, name) for name in names if hasattr(pipeline, name))


def ddim(scheduler: Any) -> DDIMScheduler:
    """DDIM with the same noise schedule, as trt-pipeline has it: without clipping."""
    return DDIMScheduler.from_config(scheduler.config, clip_sample=False)


def eager_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """The pipeline as it is."""
    return DiffusersPeer(checkpoint, threads)


def compiled_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """With torch.compile around the UNet; on a CPU that needs a C++ compiler."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_unet(peer, _compiled(peer.pipeline.unet), peer.arithmetic)


def ort_peer(checkpoint: str, threads: int, exported: str) -> DiffusersPeer:
    """With the plain export in ONNX Runtime as its UNet."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_export(peer, ort_unet(Path(exported) / GRAPH, threads, peer.on_gpu))


def openvino_peer(checkpoint: str, threads: int, exported: str) -> DiffusersPeer:
    """With the plain export in OpenVINO, compiled for fixed shapes, as its UNet."""
    return _with_export(
        DiffusersPeer(checkpoint, threads), openvino_unet(Path(exported) / GRAPH, threads)
    )


def eager_bf16_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """The pipeline, its UNet in bfloat16."""
    peer = DiffusersPeer(checkpoint, threads)
    unet = peer.pipeline.unet.to(torch.bfloat16)
    return _with_bf16(peer, type(unet).forward.__get__(unet))


def compiled_bf16_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """Likewise, with torch.compile around the UNet."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_bf16(peer, _compiled(peer.pipeline.unet.to(torch.bfloat16)))


def openvino_bf16_peer(checkpoint: str, threads: int, exported: str) -> DiffusersPeer:
    """With the plain export in OpenVINO, told to compute in bfloat16, as its UNet."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_export(peer, openvino_unet(Path(exported) / GRAPH, threads, "bf16"), "bf16")


def _compiled(unet: UNet2DConditionModel) -> Callable[..., Any]:
    return torch.compile(type(unet).forward.__get__(unet))


def _with_export(
    peer: DiffusersPeer, run: Callable[..., Any], arithmetic: str = "fp32"
) -> DiffusersPeer:
    peer.pipeline.unet.to("meta")  # its weights are in the graph now
    return _with_unet(peer, run, arithmetic)


def _with_bf16(peer: DiffusersPeer, run: Callable[..., Any]) -> DiffusersPeer:
    """Between the pipeline's float32 and a UNet's bfloat16."""

    def cast(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Any:
        half = torch.bfloat16
        states = encoder_hidden_states.to(half)
        found = run(sample.to(half), timestep, encoder_hidden_states=states)
        return UNet2DConditionOutput(sample=found.sample.to(sample.dtype))

    return _with_unet(peer, cast, "bf16")


def _with_unet(peer: DiffusersPeer, run: Callable[..., Any], arithmetic: str) -> DiffusersPeer:
    peer.arithmetic = arithmetic
    peer.replace(peer.pipeline.unet, "forward", "denoiser", run)
    return peer
