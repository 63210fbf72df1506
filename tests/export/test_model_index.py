"""model_index.json: every entry is a part of the family, harmless, or refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LDMPipeline

from tests.checkpoints import edit_json
from tests.stable_diffusion import ONE_LEVEL, make_stable_diffusion
from trt_export.checkpoint.configs.model_index import family_of
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.weights.loading import load_networks
from trt_pipeline.errors import CheckpointError


@pytest.fixture
def checkpoint(unconditional_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(unconditional_checkpoint, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"unet": None}, "model_index.json names no unet, expected one part of that kind"),
        ({"unet": [None, None]}, "names no unet"),
        ({"vqvae": None}, "names no vqvae or vae"),
        ({"vae": ["diffusers", "VQModel"]}, "names vqvae and vae, expected one part"),
        ({"unet": "UNet2DModel"}, "unet is 'UNet2DModel', expected a library and a class"),
        ({"unet": ["diffusers"]}, r"unet is \['diffusers'\], expected a library and a class"),
        ({"unet": ["diffusers", 5]}, "expected a library and a class"),
        (
            {"unet": ["my_unet", "UNet2DModel"]},
            "UNet2DModel of unet comes from my_unet, expected d",
        ),
        (
            {"scheduler": ["os", "DDIMScheduler"]},
            "scheduler comes from os, expected diffusers. Code",
        ),
        (
            {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]},
            r"safety_checker is .*SafetyChecker'\], but a LDMPipeline has no such part",
        ),
        ({"watermark": True}, "watermark is True, but a LDMPipeline has no such part. Remove"),
    ],
)
def test_an_entry_that_may_change_pictures_is_refused(
    checkpoint: Path, entries: dict[str, Any], message: str
) -> None:
    edit_json(checkpoint / "model_index.json", **entries)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(checkpoint))


def test_code_beside_a_part_is_refused(checkpoint: Path) -> None:
    (checkpoint / "unet" / "diffusers.py").write_text("raise SystemExit")
    with pytest.raises(CheckpointError, match="Code that comes with a checkpoint is never run"):
        open_checkpoint(str(checkpoint))


def test_an_adapter_beside_weights_is_refused(checkpoint: Path) -> None:
    (checkpoint / "unet" / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="would change the weights by this adapter"):
        open_checkpoint(str(checkpoint))


def test_entries_that_diffusers_ignores_by_design_are_harmless(checkpoint: Path) -> None:
    edit_json(
        checkpoint / "model_index.json",
        _name_or_path="mine",
        _ignore_files=["a.bin"],
        feature_extractor=[None, None],
        image_encoder=None,
        requires_safety_checker=False,
    )
    describe(open_checkpoint(str(checkpoint)))


def test_a_first_stage_may_be_called_vae(checkpoint: Path) -> None:
    reference = LDMPipeline.from_pretrained(checkpoint).vqvae.state_dict()
    (checkpoint / "vqvae").rename(checkpoint / "vae")
    edit_json(checkpoint / "model_index.json", vae=["diffusers", "VQModel"], vqvae=None)
    opened = open_checkpoint(str(checkpoint))
    assert "vae/diffusion_pytorch_model.safetensors" in opened.files
    loaded = load_networks(opened, "fp32").vae.module.state_dict()
    assert all(torch.equal(weight, loaded[name]) for name, weight in reference.items())


@pytest.mark.parametrize(
    ("pipeline", "unet", "family"),
    [
        ("StableDiffusionPipeline", {}, "stable_diffusion"),
        ("StableDiffusionImg2ImgPipeline", {}, "stable_diffusion"),
        ("StableDiffusionInpaintPipeline", {}, "stable_diffusion"),
        ("StableDiffusionInpaintPipeline", {"in_channels": 9}, "stable_diffusion_inpaint"),
        ("LatentConsistencyModelPipeline", {"time_cond_proj_dim": 24}, "latent_consistency"),
        ("StableDiffusionPipeline", {"time_cond_proj_dim": 24}, "latent_consistency"),
    ],
)
def test_the_unet_tells_which_family_a_pipeline_stands_for(
    pipeline: str, unet: dict[str, Any], family: str, tmp_path: Path
) -> None:
    write_index(tmp_path, pipeline, {"in_channels": 4, "out_channels": 4} | unet)
    assert family_of(tmp_path).name == family


def test_before_the_unet_is_there_a_pipeline_stands_for_the_family_of_its_name(
    tmp_path: Path,
) -> None:
    write_index(tmp_path, "StableDiffusionPipeline", {})
    (tmp_path / "unet" / "config.json").unlink()
    assert family_of(tmp_path).name == "stable_diffusion"


@pytest.mark.parametrize(
    ("pipeline", "changes", "message"),
    [
        ("StableDiffusionPipeline", {"in_channels": 9}, "in_channels is 9 and out_channels 4"),
        ("StableDiffusionInpaintPipeline", {"in_channels": 5}, "in_channels is 5 and out_ch.* 5 c"),
        (
            "StableDiffusionInstructPix2PixPipeline",
            {"in_channels": 4},
            "in_channels is 4 and out_channels 4, .* the condition has 4 channels more",
        ),
        (
            "LatentConsistencyModelPipeline",
            {},
            "scheduler is a PNDMScheduler; only LCMScheduler can be exported",
        ),
    ],
)
def test_a_unet_that_no_family_of_the_pipeline_has_is_refused(
    pipeline: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = make_stable_diffusion(tmp_path / "checkpoint", **ONE_LEVEL)
    edit_json(folder / "model_index.json", _class_name=pipeline)
    edit_json(folder / "unet" / "config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        describe(open_checkpoint(str(folder)))


def write_index(folder: Path, pipeline: str, unet: dict[str, Any]) -> None:
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text(json.dumps(unet))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
