"""Pipelines without prompts, exported, run and compared with diffusers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LDMPipeline, LDMSuperResolutionPipeline
from PIL import Image

from tests.checkpoints import edit_json
from tests.textless_checkpoints import make_super_resolution, make_unconditional
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import TEXTLESS_GRAPHS, ExportOptions, export_checkpoint
from trt_export.networks.description import describe_model
from trt_pipeline import SuperResolutionPipeline, TorchGenerator, UnconditionalPipeline
from trt_pipeline.errors import CheckpointError


def export(checkpoint: Path) -> Path:
    opened = open_checkpoint(str(checkpoint))
    return export_checkpoint(opened, checkpoint.with_name("b"), ExportOptions("fp32")).bundle.path


def loaded(kind: Any, checkpoint: Path) -> Any:
    pipe = kind.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def assert_same(found: Any, expected: Any) -> None:
    """A code that is a tie between two in float32 may differ; then so do the pixels around it."""
    difference = np.abs(np.asarray(found) * 255 - np.asarray(expected) * 255)
    assert (difference <= 1.01).mean() >= 0.99


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_unconditional(tmp_path_factory.mktemp("unconditional") / "checkpoint")


def test_unconditional_pictures_match_diffusers(unconditional: Path) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 8, "eta": 0.4, "output_type": "np"}
    theirs = loaded(LDMPipeline, unconditional)
    torch.manual_seed(0)  # after loading, which may draw weights
    expected = theirs(batch_size=2, **settings).images
    with UnconditionalPipeline.open(export(unconditional)) as pipe:
        assert tuple(pipe.bundle.graphs) == TEXTLESS_GRAPHS
        found = pipe(batch_size=2, generator=TorchGenerator(0), progress_bar=False, **settings)
        assert_same(found.images, expected)
        odd = pipe(height=36, width=68, num_inference_steps=2, progress_bar=False).images[0]
        assert odd.size == (68, 36)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers
@pytest.mark.parametrize("quantized", [True, False])
def test_enlarged_pictures_match_diffusers(tmp_path: Path, quantized: bool) -> None:
    checkpoint = make_super_resolution(tmp_path / "checkpoint", quantized)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).resize((70, 40), Image.Resampling.BICUBIC)
    settings: dict[str, Any] = {"num_inference_steps": 8, "output_type": "np"}
    theirs = loaded(LDMSuperResolutionPipeline, checkpoint)
    generator = torch.Generator().manual_seed(0)
    expected = theirs(image, generator=generator, **settings).images
    with SuperResolutionPipeline.open(export(checkpoint)) as pipe:
        assert pipe.bundle.schedule.sampler == "dpmsolver++"
        found = pipe(image, generator=TorchGenerator(0), progress_bar=False, **settings).images
    assert np.asarray(found).shape == (1, 128, 256, 3)
    assert_same(found, expected)


def test_a_unet_of_other_channels_is_refused(tmp_path: Path) -> None:
    checkpoint = make_unconditional(tmp_path / "checkpoint")
    edit_json(checkpoint / "unet" / "config.json", out_channels=4)
    with pytest.raises(CheckpointError, match="gives 4 channels, but the VAE has 3"):
        describe_model(open_checkpoint(str(checkpoint)))


def test_a_unet_of_classes_is_refused(tmp_path: Path) -> None:
    checkpoint = make_unconditional(tmp_path / "checkpoint")
    edit_json(checkpoint / "unet" / "config.json", class_embed_type="timestep")
    with pytest.raises(CheckpointError, match="class_embed_type is 'timestep'; only None"):
        describe_model(open_checkpoint(str(checkpoint)))
