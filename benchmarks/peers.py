"""Peers: diffusers' own pipeline, its UNet run as it is, compiled, or as a plain ONNX export.

Each function that ends in _peer is an opener of trt_pipeline.bench: it runs in a process of its
own. On a GPU the weights are float16, as engines have them. The bf16 peers are for CPUs: their UNet
computes in bfloat16, the other networks in float32.
"""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from numpy.typing import NDArray
from torch import Tensor

from fidelity import load_diffusers
from plain_unet import openvino_unet, ort_unet
from trt_pipeline.arguments import counted
from trt_pipeline.bench.candidate import CandidateSpec, Parts
from trt_pipeline.bench.worker import worker_command
from trt_pipeline.bench.workload import Workload
from trt_pipeline.pictures.images import to_pil

OPENERS = {
    "diffusers": "peers:eager_peer",
    "torch.compile": "peers:compiled_peer",
    "plain-ort": "peers:ort_peer",
    "plain-openvino": "peers:openvino_peer",
    "diffusers-bf16": "peers:eager_bf16_peer",
    "torch.compile-bf16": "peers:compiled_bf16_peer",
    "plain-openvino-bf16": "peers:openvino_bf16_peer",
}
"""Name of each peer → what opens it."""
EXPORTED = ("plain-ort", "plain-openvino", "plain-openvino-bf16")
"""Those that run the plain ONNX export."""
DEFAULT = tuple(name for name in OPENERS if not name.endswith("-bf16"))
"""Those that are measured unless others are named."""


def peer_spec(name: str, checkpoint: Path, graph: Path, threads: int) -> CandidateSpec:
    """A peer by name. graph: the plain export, used by those that run it."""
    arguments: dict[str, Any] = {"checkpoint": str(checkpoint), "threads": threads}
    if name in EXPORTED:
        arguments["graph"] = str(graph)
    return CandidateSpec(name, worker_command(OPENERS[name], arguments))


class DiffusersPeer:
    """diffusers' pipeline, watched while it runs."""

    def __init__(self, checkpoint: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.on_gpu = torch.cuda.is_available()
        self.device = (
            torch.cuda.get_device_name() if self.on_gpu else f"CPU, {counted(threads, 'thread')}"
        )
        self.arithmetic = "fp16" if self.on_gpu else "fp32"
        self.pipeline = load_diffusers(Path(checkpoint), rounded=False)
        if self.on_gpu:
            self.pipeline.to("cuda", torch.float16)
        self._seconds: Parts = {}
        self.replace(self.pipeline.bert, "forward", "text_encoder")
        self.replace(self.pipeline.unet, "forward", "denoiser")
        self.replace(self.pipeline.vqvae, "decode", "decoder")

    def replace(
        self, owner: Any, method: str, part: str, function: Callable[..., Any] | None = None
    ) -> None:
        """Let a function, or the method itself, run in the method's place and be timed."""
        run = getattr(owner, method) if function is None else function

        def watched(*args: Any, **settings: Any) -> Any:
            self._wait()
            started = time.perf_counter()
            result = run(*args, **settings)
            self._wait()
            self._seconds.setdefault(part, []).append(time.perf_counter() - started)
            return result

        setattr(owner, method, watched)

    def generate(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3] of a picture for each prompt."""
        return np.stack([np.asarray(image) for image in to_pil(self._pixels(workload, prompts))])

    def parts(self, workload: Workload, prompts: Sequence[str]) -> Parts:
        """Seconds of each network's runs, of the tokenizer, and of what follows the decoder."""
        self._seconds.clear()
        started = time.perf_counter()
        pixels = self._pixels(workload, prompts)
        images = to_pil(pixels)
        called = time.perf_counter()
        self.pipeline.tokenizer(list(prompts), padding="max_length", max_length=77, truncation=True)
        tokenized = time.perf_counter()
        to_pil(pixels)
        copied = time.perf_counter()
        for image in images:
            image.save(io.BytesIO(), "PNG")
        return {
            "tokenize": [tokenized - called],
            **{part: list(seconds) for part, seconds in self._seconds.items()},
            "copy": [copied - tokenized],
            "png": [time.perf_counter() - copied],
            "total": [called - started],
        }

    def _pixels(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        unet = self.pipeline.unet
        torch.manual_seed(workload.seed)  # of the noise of eta > 0, drawn after the latents
        shape = (len(prompts), unet.config.in_channels, *[unet.config.sample_size] * 2)
        latents = torch.randn(shape).to(self.pipeline.bert.dtype)
        images: NDArray[np.float32] = self.pipeline(
            list(prompts),
            num_inference_steps=workload.num_inference_steps,
            guidance_scale=workload.guidance_scale,
            eta=workload.eta,
            latents=latents,
            output_type="np",
        ).images
        return np.rint(images * 255).astype(np.uint8)

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def eager_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """The pipeline as it is."""
    return DiffusersPeer(checkpoint, threads)


def compiled_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """With torch.compile around the UNet; on a CPU that needs a C++ compiler."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_unet(peer, _compiled(peer.pipeline.unet), peer.arithmetic)


def ort_peer(checkpoint: str, threads: int, graph: str) -> DiffusersPeer:
    """With the plain export in ONNX Runtime as its UNet."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_export(peer, ort_unet(Path(graph), threads, peer.on_gpu))


def openvino_peer(checkpoint: str, threads: int, graph: str) -> DiffusersPeer:
    """With the plain export in OpenVINO, compiled for fixed shapes, as its UNet."""
    return _with_export(DiffusersPeer(checkpoint, threads), openvino_unet(Path(graph), threads))


def eager_bf16_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """The pipeline, its UNet in bfloat16."""
    peer = DiffusersPeer(checkpoint, threads)
    unet = peer.pipeline.unet.to(torch.bfloat16)
    return _with_bf16(peer, type(unet).forward.__get__(unet))


def compiled_bf16_peer(checkpoint: str, threads: int) -> DiffusersPeer:
    """Likewise, with torch.compile around the UNet."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_bf16(peer, _compiled(peer.pipeline.unet.to(torch.bfloat16)))


def openvino_bf16_peer(checkpoint: str, threads: int, graph: str) -> DiffusersPeer:
    """With the plain export in OpenVINO, told to compute in bfloat16, as its UNet."""
    peer = DiffusersPeer(checkpoint, threads)
    return _with_export(peer, openvino_unet(Path(graph), threads, "bf16"), "bf16")


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
