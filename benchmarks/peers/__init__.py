"""Peers: what else makes pictures of the same checkpoint, each in a process of its own.

Each function that ends in _peer is an opener of trt_pipeline.bench. All take the same steps: DDIM
with the checkpoint's own noise schedule, from the same latents.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from peers.environments import HERE, Environment
from trt_pipeline.bench.candidate import CandidateSpec
from trt_pipeline.bench.worker import worker_command
from trt_pipeline.errors import BackendError

Exported: TypeAlias = Literal["unet", "graphs", "genai", "optimum", "single"]
"""What a peer runs instead of the checkpoint: its UNet as plain ONNX, all its networks as plain
ONNX, a folder in another project's layout, or all weights in one file."""


@dataclass(frozen=True, slots=True)
class Peer:
    """How to open a peer."""

    opener: str
    runs: Exported | None = None
    """None for the checkpoint itself."""
    stable_diffusion_only: bool = False
    environment: Environment | None = None
    """Where it runs, if not among the packages that are installed here."""


OPTIMUM = Environment(
    "optimum-onnx",
    (
        "optimum-onnx[onnxruntime]==0.1.0",
        "diffusers==0.36.0",
        "transformers==4.57.6",
        "torch==2.13.0",
    ),
)
STABLE_DIFFUSION_CPP = Environment(
    "stable-diffusion.cpp", ("cyllama==0.2.18", "numpy", "pillow", "safetensors")
)

PEERS: Mapping[str, Peer] = {
    "diffusers": Peer("peers.pytorch:eager_peer"),
    "torch.compile": Peer("peers.pytorch:compiled_peer"),
    "plain-ort": Peer("peers.pytorch:ort_peer", "unet"),
    "plain-openvino": Peer("peers.pytorch:openvino_peer", "unet"),
    "diffusers-bf16": Peer("peers.pytorch:eager_bf16_peer"),
    "torch.compile-bf16": Peer("peers.pytorch:compiled_bf16_peer"),
    "plain-openvino-bf16": Peer("peers.pytorch:openvino_bf16_peer", "unet"),
    "openvino-genai": Peer("peers.genai:genai_peer", "genai", True),
    "openvino-genai-bf16": Peer("peers.genai:genai_bf16_peer", "genai", True),
    "diffusers-onnx": Peer("peers.onnx_pipelines:diffusers_peer", "graphs", True),
    "optimum-onnx": Peer("peers.onnx_pipelines:optimum_peer", "optimum", True, OPTIMUM),
    "stable-diffusion.cpp": Peer(
        "peers.stable_diffusion_cpp:cpp_peer", "single", True, STABLE_DIFFUSION_CPP
    ),
}
"""Name of each peer → how to open it."""
EXPORTERS: Mapping[Exported, str] = {
    "unet": "peers.plain_graphs",
    "graphs": "peers.plain_graphs",
    "genai": "peers.genai",
    "optimum": "peers.onnx_pipelines",
    "single": "peers.stable_diffusion_cpp",
}
"""The module that writes it: a command, so that exporting leaves no memory behind."""


def default_peers(checkpoint: Path) -> list[str]:
    """The peers that run a checkpoint in float32."""
    ours = is_stable_diffusion(checkpoint)
    single = (name for name in PEERS if not name.endswith("-bf16"))
    return [name for name in single if ours or not PEERS[name].stable_diffusion_only]


def is_stable_diffusion(checkpoint: Path) -> bool:
    """Whether peers that know nothing else can run it."""
    index = json.loads((checkpoint / "model_index.json").read_text())
    return bool(index["_class_name"] == "StableDiffusionPipeline")


def peer_specs(
    names: Sequence[str], checkpoint: Path, work: Path, threads: int
) -> list[CandidateSpec]:
    """Peers by name, ready to be opened. work: a folder for what they run, which is kept."""
    return [_spec(name, checkpoint.resolve(), work.resolve(), threads) for name in names]


def unavailable(reason: str) -> Any:
    """The opener of a peer that could not be set up."""
    raise BackendError(reason)


def _spec(name: str, checkpoint: Path, work: Path, threads: int) -> CandidateSpec:
    peer = PEERS[name]
    arguments: dict[str, Any] = {"checkpoint": str(checkpoint), "threads": threads}
    opens = checkpoint
    try:
        python = peer.environment.python(work) if peer.environment else Path(sys.executable)
        if peer.runs:
            exported = _exported(peer.runs, python, checkpoint, work)
            arguments["exported"] = str(exported)
            opens = checkpoint if peer.runs == "unet" else exported
    except subprocess.CalledProcessError as error:
        reason = {"reason": f"it could not be set up: {error}"}
        return CandidateSpec(name, worker_command(f"{__name__}:unavailable", reason))
    _, *command = worker_command(peer.opener, arguments)
    return CandidateSpec(name, (str(python), *command), opens)


def _exported(kind: Exported, python: Path, checkpoint: Path, work: Path) -> Path:
    """Written by a process of its own, unless it is there."""
    target, partial = work / kind, work / f"{kind}.partial"
    if not target.exists():
        shutil.rmtree(partial, ignore_errors=True)
        command: list[str | Path] = [python, "-m", EXPORTERS[kind], kind, checkpoint, partial]
        subprocess.run(command, check=True, stdout=sys.stderr, cwd=HERE)
        partial.rename(target)
    return target
