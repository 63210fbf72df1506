"""ONNX pipelines of others: diffusers' own, which is deprecated, and optimum-onnx.

python -m peers.onnx_pipelines optimum CHECKPOINT FOLDER
"""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers.watched import WatchedPeer, noise
from trt_pipeline.arguments import counted
from trt_pipeline.bench.workload import Workload


class OnnxPeer(WatchedPeer):
    """A pipeline whose networks are sessions of ONNX Runtime on the CPU."""

    def __init__(self, pipeline: Any, unet: Any, sessions: Mapping[str, Any], threads: int) -> None:
        """unet: its configuration. sessions: part → session."""
        pixels = unet["sample_size"] * 8
        super().__init__(pipeline, height=pixels, width=pixels)
        self.device = f"CPU, {counted(threads, 'thread')}"
        self._unet = unet
        pipeline.set_progress_bar_config(disable=True)
        for part, session in sessions.items():
            self.replace(session, "run", part)

    def _latents(self, workload: Workload, count: int) -> Any:
        return noise(workload, count, self._unet["in_channels"], self._unet["sample_size"])


class OptimumPeer(OnnxPeer):
    """optimum-onnx's, which takes latents as tensors."""

    def _latents(self, workload: Workload, count: int) -> Any:
        import torch

        return torch.from_numpy(super()._latents(workload, count))


def diffusers_peer(checkpoint: str, threads: int, exported: str) -> OnnxPeer:
    """OnnxStableDiffusionPipeline over plain exports."""
    import onnxruntime
    from diffusers import OnnxRuntimeModel, OnnxStableDiffusionPipeline, UNet2DConditionModel
    from diffusers.schedulers import DDIMScheduler
    from transformers import CLIPTokenizer

    from peers.plain_graphs import GRAPH
    from peers.pytorch import ddim

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    sessions = {
        name: onnxruntime.InferenceSession(Path(exported) / name / GRAPH, options, providers)
        for name in ("text_encoder", "unet", "vae_decoder")
    }
    scheduler = DDIMScheduler.from_pretrained(checkpoint, subfolder="scheduler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        models = {name: OnnxRuntimeModel(session) for name, session in sessions.items()}
        pipeline = OnnxStableDiffusionPipeline(
            **models,
            vae_encoder=None,
            tokenizer=CLIPTokenizer.from_pretrained(checkpoint, subfolder="tokenizer"),
            scheduler=ddim(scheduler),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    unet = UNet2DConditionModel.load_config(checkpoint, subfolder="unet")
    return OnnxPeer(pipeline, unet, _by_part(sessions), threads)


def optimum_peer(checkpoint: str, threads: int, exported: str) -> OnnxPeer:
    """optimum-onnx over its own export."""
    import onnxruntime
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    pipeline = ORTStableDiffusionPipeline.from_pretrained(exported, session_options=options)
    config = pipeline.scheduler.config
    pipeline.scheduler = DDIMScheduler.from_config(config, clip_sample=False)
    names = ("text_encoder", "unet", "vae_decoder")
    sessions = {name: getattr(pipeline, name).session for name in names}
    unet = UNet2DConditionModel.load_config(checkpoint, subfolder="unet")
    return OptimumPeer(pipeline, unet, _by_part(sessions), threads)


def _by_part(sessions: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text_encoder": sessions["text_encoder"],
        "denoiser": sessions["unet"],
        "decoder": sessions["vae_decoder"],
    }


def export_optimum(checkpoint: Path, folder: Path) -> None:
    """Write optimum-onnx's export of a checkpoint."""
    from optimum.exporters.onnx import main_export

    main_export(str(checkpoint), folder, task="text-to-image", do_validation=False)


if __name__ == "__main__":
    _, checkpoint, folder = sys.argv[1:]
    export_optimum(Path(checkpoint), Path(folder))
