"""openvino-genai, and what turns a checkpoint of Stable Diffusion into its layout.

    python -m peers.genai genai CHECKPOINT FOLDER

Weights stay float32. optimum-intel, which would write the same, does not go with today's
transformers.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.watched import noise
from trt_pipeline.arguments import counted
from trt_pipeline.backends.openvino import import_openvino
from trt_pipeline.bench.candidate import Parts
from trt_pipeline.bench.finishing import finishing_parts
from trt_pipeline.bench.workload import Workload
from trt_pipeline.pictures.images import to_pil


class GenaiPeer:
    """Text2ImagePipeline on the CPU."""

    def __init__(self, exported: str, threads: int, arithmetic: str) -> None:
        import openvino_genai

        hint = {"fp32": "f32", "bf16": "bf16"}[arithmetic]
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint}
        self.arithmetic = arithmetic
        self.device = f"CPU, {counted(threads, 'thread')}"
        self._unet = json.loads((Path(exported) / "unet" / "config.json").read_text())
        self._pipeline = openvino_genai.Text2ImagePipeline(exported, "CPU", **settings)

    def generate(self, workload: Workload, prompts: Sequence[str]) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3]; a picture at a time, as a call takes one prompt."""
        channels, side = self._unet["in_channels"], self._unet["sample_size"]
        latents = noise(workload, len(prompts), channels, side)
        return np.concatenate(
            [
                self._draw(workload, prompt, latents[number : number + 1], side)
                for number, prompt in enumerate(prompts)
            ]
        )

    def _draw(
        self, workload: Workload, prompt: str, latents: NDArray[np.float32], side: int
    ) -> NDArray[np.uint8]:
        drawn = self._pipeline.generate(
            prompt,
            num_inference_steps=workload.num_inference_steps,
            guidance_scale=workload.guidance_scale,
            width=side * 8,
            height=side * 8,
            generator=_given(latents),
        )
        return np.array(drawn.data)

    def parts(self, workload: Workload, prompts: Sequence[str]) -> Parts:
        """Seconds of each network's runs as the pipeline counts them, and of what follows."""
        started = time.perf_counter()
        pixels = self.generate(workload, prompts)
        called = time.perf_counter()
        metrics = self._pipeline.get_performance_metrics()
        return {
            "text_encoder": [ms / 1e3 for ms in metrics.get_text_encoder_infer_duration().values()],
            "denoiser": [ms / 1e6 for ms in metrics.raw_metrics.unet_inference_durations],
            "decoder": [metrics.get_vae_decoder_infer_duration() / 1e3],
            **finishing_parts(lambda: to_pil(pixels)),
            "total": [called - started],
        }


def _given(latents: NDArray[np.float32]) -> Any:
    """A generator that gives these latents."""
    import openvino
    import openvino_genai

    class Given(openvino_genai.Generator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def randn_tensor(self, shape: Any) -> Any:
            assert list(shape) == list(latents.shape)
            return openvino.Tensor(latents)

    return Given()


def genai_peer(checkpoint: str, threads: int, exported: str) -> GenaiPeer:
    """In float32."""
    del checkpoint
    return GenaiPeer(exported, threads, "fp32")


def genai_bf16_peer(checkpoint: str, threads: int, exported: str) -> GenaiPeer:
    """In bfloat16."""
    del checkpoint
    return GenaiPeer(exported, threads, "bf16")


def convert(checkpoint: Path, folder: Path) -> None:
    """Write a folder that openvino-genai opens."""
    import openvino_tokenizers
    import torch
    from diffusers import DiffusionPipeline

    from peers.plain_graphs import networks
    from peers.pytorch import ddim

    openvino = import_openvino()
    pipeline = DiffusionPipeline.from_pretrained(checkpoint)
    for name, module, example in networks(pipeline, torch.int64, torch.tensor([1])):
        with torch.no_grad():  # or the trace keeps what every layer gave
            model = openvino.convert_model(module, example_input=example)
        path = folder / name / "openvino_model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
    tokenizer = openvino_tokenizers.convert_tokenizer(pipeline.tokenizer, with_detokenizer=False)
    openvino.save_model(tokenizer, folder / "tokenizer" / "openvino_tokenizer.xml")
    ddim(pipeline.scheduler).save_pretrained(folder / "scheduler")
    pipeline.unet.save_config(folder / "unet")
    pipeline.vae.save_config(folder / "vae_decoder")
    pipeline.text_encoder.config.save_pretrained(folder / "text_encoder")
    index = json.loads((checkpoint / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDIMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    _, checkpoint, folder = sys.argv[1:]
    convert(Path(checkpoint), Path(folder))
