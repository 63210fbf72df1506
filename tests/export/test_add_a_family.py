"""docs/add-a-family.md: a family that one file adds, exported and compared with diffusers."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline, LDMTextToImagePipeline

from tests.checkpoints import Architecture, edit_json, make_checkpoint
from trt_export import families
from trt_export.cli import command as export_all
from trt_export.engines.profiles import rows_per_sample
from trt_export.networks.weights.precision import round_weights
from trt_pipeline import TorchGenerator, load_bundle, trt_pipeline
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("families")
PAGE = (ROOT / "docs" / "add-a-family.md").read_text()
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)]
ONE_LEVEL = Architecture(
    unet={
        "block_out_channels": (32,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "layers_per_block": 1,
        "attention_head_dim": 4,
        "time_cond_proj_dim": 24,
    },
    vqvae={
        "block_out_channels": (16,),
        "down_block_types": ("DownEncoderBlock2D",),
        "up_block_types": ("UpDecoderBlock2D",),
    },
    bert={"encoder_layers": 1},
    scheduler={"clip_sample": False},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's commands run: my-checkpoint is there."""
    folder = tmp_path_factory.mktemp("page")
    checkpoint = make_checkpoint(folder / "my-checkpoint", ONE_LEVEL)
    edit_json(checkpoint / "model_index.json", _class_name="LDMConsistencyPipeline")
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Iterator[Path]:
    """What the page's second command makes, once the family's file is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "__path__", [*families.__path__, str(FOLDER)])
        patch.chdir(folder)
        assert console.run(export_all, COMMANDS[1][1:]) == 0
        yield folder / "my-bundle"
    sys.modules.pop("trt_export.families.ldm_consistency")


def test_the_page_shows_the_family_s_file() -> None:
    assert f"```python\n{(FOLDER / 'ldm_consistency.py').read_text()}```\n" in PAGE


def test_without_the_family_the_checkpoint_is_refused_as_the_page_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert console.run(export_all, COMMANDS[0][1:]) == 2
    assert f"\n{capsys.readouterr().err}```\n" in PAGE


def test_the_bundle_follows_the_family(bundle: Path) -> None:
    found = load_bundle(bundle)
    assert (found.model.family, found.model.context_tokens) == ("ldm_consistency", 77)
    assert (found.defaults.num_inference_steps, found.defaults.guidance_scale) == (4, 8.5)
    assert [*found.inputs("time_embedding")] == ["timesteps", "guidance_scale"]
    assert rows_per_sample(found) == 1


def test_the_page_s_command_makes_a_picture(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    assert console.run(cli, COMMANDS[2][1:]) == 0
    assert (bundle.parent / "circle.png").is_file()


@torch.no_grad()
def theirs(checkpoint: Path, prompt: str, guidance_scale: float) -> Any:
    """Latents of four steps by diffusers' modules, one row a sample, as its latent consistency
    pipeline calls them."""
    pipe: Any = LDMTextToImagePipeline.from_pretrained(checkpoint)
    for part in ("bert", "unet", "vqvae"):
        round_weights(part, getattr(pipe, part))
    pipe.scheduler.set_timesteps(4)
    ids = pipe.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt").input_ids
    embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    given = {
        "encoder_hidden_states": pipe.bert(ids)[0],
        "timestep_cond": embed(None, torch.tensor([guidance_scale - 1]), embedding_dim=24),
    }
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for timestep in pipe.scheduler.timesteps:
        output = pipe.unet(latents, timestep, **given).sample
        latents = pipe.scheduler.step(output, timestep, latents).prev_sample
    return latents.numpy()


@pytest.mark.parametrize("guidance_scale", [1.0, 8.5])
def test_the_latents_match_diffusers(bundle: Path, folder: Path, guidance_scale: float) -> None:
    expected = theirs(folder / "my-checkpoint", "a red circle", guidance_scale)
    with trt_pipeline(bundle, backend="onnxruntime") as pipe:
        found = pipe(
            "a red circle",
            guidance_scale=guidance_scale,
            generator=TorchGenerator(0),
            output_type="latent",
            progress_bar=False,
        ).images
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-4 * abs(expected).max())


def test_the_embedded_guidance_scale_changes_the_picture(folder: Path, bundle: Path) -> None:
    one, other = (theirs(folder / "my-checkpoint", "a red circle", w) for w in (1.0, 8.5))
    assert np.abs(one - other).max() > 1e-3
