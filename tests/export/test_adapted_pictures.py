"""Pictures of a bundle with a LoRA and a textual inversion, against diffusers' with both."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from safetensors.torch import save_file

from tests.loras import ALPHA, RANK, as_kohya, make_pairs
from tests.shared import once
from tests.stable_diffusion import make_stable_diffusion
from trt_export.checkpoint.adapters.files import EmbeddingFile, LoraFile
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, ExportReport, export_checkpoint
from trt_pipeline import TorchGenerator, trt_pipeline
from trt_pipeline.bundle import load_bundle

SCALE = 0.8
CALL: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 5.0, "height": 96, "width": 64}
PROMPTS = ["a red circle", "a <cat-toy>, 3 cats"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """A bundle in float32, with its checkpoint, LoRA and embedding beside it."""

    def export(folder: Path) -> ExportReport:
        checkpoint = make_stable_diffusion(folder / "checkpoint")
        plain = StableDiffusionPipeline.from_pretrained(checkpoint)
        pairs = make_pairs({"unet": plain.unet, "text_encoder": plain.text_encoder})
        save_file(as_kohya(pairs), folder / "lora.safetensors")
        vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
        save_file({"<cat-toy>": 3 * vectors}, folder / "toy.safetensors")
        opened = open_checkpoint(
            str(checkpoint),
            loras=[LoraFile(folder / "lora.safetensors", SCALE)],
            embeddings=[EmbeddingFile(folder / "toy.safetensors")],
        )
        return export_checkpoint(opened, folder / "bundle", ExportOptions("fp32", max_batch=2))

    return once(tmp_path_factory, "adapted", export)


@pytest.fixture(scope="module")
def theirs(report: ExportReport) -> Any:
    """diffusers' pipeline, with the LoRA added by hand and the embedding by its own loader."""
    folder = report.bundle.path.parent
    pipe: Any = StableDiffusionPipeline.from_pretrained(folder / "checkpoint")
    modules = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    for pair in make_pairs(modules):
        layers = dict(modules[pair.role].named_modules())
        layer = layers.get(pair.layer) or layers[pair.layer.removeprefix("text_model.")]
        layer.weight.data = pair.added(layer.weight.data, SCALE * ALPHA / RANK)
    pipe.load_textual_inversion(str(folder / "toy.safetensors"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(theirs: Any, prompt: str) -> NDArray[np.float32]:
    generator = torch.Generator().manual_seed(7)
    picture = theirs(prompt, generator=generator, output_type="np", **CALL).images[0]
    return np.asarray(picture, np.float32)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_bundles_picture_is_diffusers(report: ExportReport, theirs: Any, prompt: str) -> None:
    expected = drawn(theirs, prompt)
    with trt_pipeline(report.bundle.path) as ours:
        found = ours(
            prompt, generator=TorchGenerator(7), output_type="np", progress_bar=False, **CALL
        ).images[0]
    apart = abs(np.asarray(found, np.float32) - expected) > 1 / 255 + 1e-6
    assert apart.mean() <= 0.001


def test_the_adapters_matter(report: ExportReport, theirs: Any) -> None:
    """Otherwise the test before would prove nothing."""
    plain: Any = StableDiffusionPipeline.from_pretrained(report.bundle.path.parent / "checkpoint")
    plain.set_progress_bar_config(disable=True)
    for prompt in PROMPTS:
        assert abs(drawn(plain, prompt) - drawn(theirs, prompt)).max() > 20 / 255


def test_provenance_names_them(report: ExportReport) -> None:
    provenance = load_bundle(report.bundle.path).provenance
    assert provenance["loras"] == [{"file": "lora.safetensors", "scale": SCALE}]
    assert provenance["embeddings"] == [{"file": "toy.safetensors", "token": None}]
    assert {"loras/0/lora.safetensors", "embeddings/0/toy.safetensors"} <= {*provenance["files"]}
