"""What a bundle has on request: a tiny decoder, and the checkpoint's own safety checker."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPImageProcessorPil

from tests.additions import add_safety_checker, make_tiny_decoder
from tests.checkpoints import edit_json
from tests.shared import once
from tests.stable_diffusion import make_stable_diffusion
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_export.networks.description import describe
from trt_export.networks.safety.clip_pictures import CLIPPictures
from trt_pipeline import PipelineOutput, Step, TorchGenerator, load_bundle, trt_pipeline
from trt_pipeline.errors import CheckpointError, InvalidInputError

SETTINGS: dict[str, Any] = {
    "num_inference_steps": 3,
    "guidance_scale": 4.0,
    "height": 64,
    "width": 96,
    "num_images_per_prompt": 6,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A checkpoint with a safety checker, a tiny decoder, and a bundle with both."""

    def make(at: Path) -> tuple[Path, Path, Path]:
        checkpoint = add_safety_checker(make_stable_diffusion(at / "checkpoint"))
        tiny, bundle = make_tiny_decoder(at / "tiny"), at / "bundle"
        opened = open_checkpoint(str(checkpoint), tiny_decoder=str(tiny), safety_checker=True)
        export_checkpoint(opened, bundle, ExportOptions("fp32"))
        return checkpoint, tiny, bundle

    return once(tmp_path_factory, "additions", make)


def drawn_by_diffusers(checkpoint: Path, **parts: Any) -> Any:
    theirs = StableDiffusionPipeline.from_pretrained(checkpoint, **parts)
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    return theirs("a red circle", generator=generator, output_type="np", **SETTINGS)


def drawn(bundle: Path, safety_checker: Any = None, **settings: Any) -> Any:
    with trt_pipeline(bundle, safety_checker=safety_checker) as pipe:
        return pipe(
            "a red circle",
            generator=TorchGenerator(1),
            output_type="np",
            progress_bar=False,
            **SETTINGS,
            **settings,
        )


def assert_same(found: Any, expected: Any) -> None:
    difference = np.abs(np.rint(np.asarray(found) * 255) - np.rint(np.asarray(expected) * 255))
    assert (difference <= 1).mean() >= 0.999


def test_a_bundle_has_what_was_asked_for(made: tuple[Path, Path, Path]) -> None:
    bundle = load_bundle(made[2])
    assert [*bundle.graphs][-4:] == ["decoder", "tiny_decoder", "encoder", "safety_checker"]
    assert "tiny_decoder/config.json" in bundle.provenance["files"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_safety_checker_blackens_what_diffusers_blackens(made: tuple[Path, Path, Path]) -> None:
    expected = drawn_by_diffusers(made[0])
    found = drawn(made[2], safety_checker="bundle")
    assert found.nsfw_content_detected == tuple(expected.nsfw_content_detected)
    assert {*found.nsfw_content_detected} == {False, True}
    assert_same(found.images, expected.images)
    assert not found.images[list(found.nsfw_content_detected)].any()


def test_a_safety_checker_runs_only_if_asked_for(made: tuple[Path, Path, Path]) -> None:
    assert drawn(made[2]).nsfw_content_detected is None


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_tiny_decoder_decodes_as_diffusers(made: tuple[Path, Path, Path]) -> None:
    tiny = AutoencoderTiny.from_pretrained(made[1])
    expected = drawn_by_diffusers(made[0], vae=tiny, safety_checker=None)
    assert_same(drawn(made[2], decoder="tiny").images, expected.images)


def test_previews_are_the_tiny_decoders(made: tuple[Path, Path, Path]) -> None:
    settings = {**SETTINGS, "num_images_per_prompt": 1, "seed": 0}
    with trt_pipeline(made[2]) as pipe:
        *_, step, output = pipe.stream("a red circle", decoder="tiny", **settings)
        assert isinstance(step, Step)
        (preview,) = step.preview()
    assert isinstance(output, PipelineOutput)
    assert preview.size == (96, 64)
    assert np.array_equal(np.asarray(preview), np.asarray(output.images[0]))


def test_what_a_bundle_lacks_is_refused(plain_bundle: Path) -> None:
    refused = pytest.raises(InvalidInputError, match=r"decoder is 'tiny', but .*--tiny-decoder")
    with trt_pipeline(plain_bundle) as pipe, refused:
        pipe("a cat", decoder="tiny")
    with pytest.raises(InvalidInputError, match=r'safety_checker is "bundle", but .*has none'):
        trt_pipeline(plain_bundle, safety_checker="bundle")


def test_a_checkpoint_without_a_safety_checker_is_refused(tmp_path: Path) -> None:
    checkpoint = make_stable_diffusion(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match="has no safety_checker that could be exported"):
        open_checkpoint(str(checkpoint), safety_checker=True)


def test_a_tiny_decoder_of_other_latents_is_refused(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    tiny = make_tiny_decoder(tmp_path / "tiny", latent_channels=16)
    opened = open_checkpoint(str(made[0]), tiny_decoder=str(tiny))
    with pytest.raises(CheckpointError, match="decodes latents of 16 channels to 8 pixels each"):
        describe(opened)


def test_a_vae_is_not_a_tiny_decoder(made: tuple[Path, Path, Path]) -> None:
    with pytest.raises(CheckpointError, match="'AutoencoderKL'; only AutoencoderTiny"):
        open_checkpoint(str(made[0]), tiny_decoder=str(made[0] / "vae"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resample": 2}, "resample is 2; only 3"),
        ({"do_center_crop": False}, "do_center_crop is False; only True"),
        ({"crop_size": {"height": 16, "width": 16}}, "reads 32 pixels"),
        ({"size": {"height": 32}}, "only a square of pixels"),
    ],
)
def test_other_ways_to_give_pictures_are_refused(
    made: tuple[Path, Path, Path], tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    checkpoint = Path(shutil.copytree(made[0], tmp_path / "checkpoint"))
    edit_json(checkpoint / "feature_extractor" / "preprocessor_config.json", **changes)
    opened = open_checkpoint(str(checkpoint), safety_checker=True)
    with pytest.raises(CheckpointError, match=f"preprocessor_config.json .*{expected}"):
        describe(opened)


@pytest.mark.parametrize("size", [(64, 64), (230, 1000), (1000, 230), (512, 768), (130, 129)])
def test_pictures_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    processor = CLIPImageProcessorPil(do_normalize=False, do_rescale=False)
    module = CLIPPictures(224, 224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    theirs = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    levels = (module(torch.tensor(pixels)[None]) * 255 - theirs).abs()
    assert levels.max() < 1.01
    assert (levels > 0.5).float().mean() < 1e-3
