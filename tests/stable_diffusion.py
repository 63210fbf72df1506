"""Small random checkpoints of Stable Diffusion's families, saved by the libraries installed."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tests.shared import once
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.export import ExportOptions, export_checkpoint
from trt_pipeline import Pipeline, TorchGenerator, trt_pipeline
from trt_pipeline.bundle.manifest import Precision

SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
"""Of every Stable Diffusion."""
MERGES = ("r e", "re d</w>", "c i", "ci r", "c l", "cl e</w>", "cir cle</w>", "c a", "ca t</w>")
START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path, pad_token: str = END) -> CLIPTokenizer:
    """CLIP's tokenizer with a vocabulary of bytes and a few merges."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    merged = [merge.replace(" ", "") for merge in MERGES]
    tokens = [*letters, *(f"{one}</w>" for one in letters), *merged, START, END]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad_token}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return CLIPTokenizer.from_pretrained(folder)


def small_text_encoder(tokenizer: CLIPTokenizer, **config: Any) -> CLIPTextModel:
    """A text encoder whose context matters, as its weights are large."""
    small = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_factor": 3.0,
    }
    return CLIPTextModel(CLIPTextConfig(**small | config)).eval()


def small_unet(**config: Any) -> UNet2DConditionModel:
    """A UNet of two levels."""
    small = {
        "sample_size": 16,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
        "cross_attention_dim": 32,
    }
    return UNet2DConditionModel(**small | config)


def small_vae(**config: Any) -> AutoencoderKL:
    """A first stage of four levels, thus 8 pixels a latent as all Stable Diffusions have."""
    small = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 128,
    }
    return AutoencoderKL(**small | config)


def make_stable_diffusion(
    folder: Path,
    seed: int = 0,
    *,
    pipeline: Any = StableDiffusionPipeline,
    scheduler: Any = None,
    pad_token: str = END,
    text_encoder: Mapping[str, Any] | None = None,
    vae: Mapping[str, Any] | None = None,
    **unet: Any,
) -> Path:
    """A checkpoint of a pipeline with Stable Diffusion's parts; 1.x at a small size by default."""
    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "tokenizer", pad_token)
    pipeline(
        vae=small_vae(**vae or {}),
        text_encoder=small_text_encoder(tokenizer, **text_encoder or {}),
        tokenizer=tokenizer,
        unet=small_unet(**unet),
        scheduler=scheduler
        or PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=False, **SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def make_stable_diffusion_2(folder: Path, seed: int = 1) -> Path:
    """Stable Diffusion 2.1: v-prediction, linear projections, heads and layers by level, another
    activation of texts, which are padded with "!"; three levels and another first stage."""
    return make_stable_diffusion(
        folder,
        seed,
        scheduler=DDIMScheduler(
            clip_sample=False,
            set_alpha_to_one=False,
            prediction_type="v_prediction",
            **SCHEDULE,
        ),
        pad_token="!",
        text_encoder={"hidden_act": "gelu", "hidden_size": 48, "num_hidden_layers": 3},
        vae={"layers_per_block": 2, "block_out_channels": (8, 16, 16, 24), "scaling_factor": 0.3},
        sample_size=12,
        block_out_channels=(16, 24, 32),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=(1, 2, 1),
        attention_head_dim=(2, 3, 4),
        cross_attention_dim=48,
        use_linear_projection=True,
        upcast_attention=True,
    )


ONE_LEVEL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (16,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
"""A UNet that is traced in a moment."""


def make_turbo(folder: Path) -> Path:
    """SD-Turbo."""
    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing", **SCHEDULE)
    return make_stable_diffusion(folder, 2, scheduler=scheduler, **ONE_LEVEL)


def make_latent_consistency(folder: Path, seed: int = 3, **changes: Any) -> Path:
    """A latent consistency model, whose UNet embeds the guidance scale."""
    return make_stable_diffusion(
        folder,
        seed,
        pipeline=LatentConsistencyModelPipeline,
        scheduler=LCMScheduler(**SCHEDULE),
        **ONE_LEVEL | {"time_cond_proj_dim": 24} | changes,
    )


def make_inpaint(folder: Path, seed: int = 4, **changes: Any) -> Path:
    """An inpainting model, whose UNet sees the mask and the latents of the masked picture."""
    return make_stable_diffusion(
        folder,
        seed,
        pipeline=StableDiffusionInpaintPipeline,
        **ONE_LEVEL | {"in_channels": 9} | changes,
    )


def make_instruct_pix2pix(folder: Path, seed: int = 5, **changes: Any) -> Path:
    """InstructPix2Pix, whose UNet sees the latents of the picture to change."""
    return make_stable_diffusion(
        folder,
        seed,
        pipeline=StableDiffusionInstructPix2PixPipeline,
        scheduler=EulerAncestralDiscreteScheduler(**SCHEDULE),
        **ONE_LEVEL | {"in_channels": 8} | changes,
    )


def exported(
    factory: pytest.TempPathFactory, make: Callable[[Path], Path], precision: Precision = "fp32"
) -> tuple[Path, Path]:
    """A maker's checkpoint and its bundle, made once a run."""
    name = f"{make.__name__}-{precision}"

    def both(folder: Path) -> tuple[Path, Path]:
        checkpoint, bundle = make(folder / "checkpoint"), folder / "bundle"
        options = ExportOptions(precision, max_batch=4)
        export_checkpoint(open_checkpoint(str(checkpoint)), bundle, options)
        return checkpoint, bundle

    return once(factory, name, both)


SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "tcd": "TCDScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""Sampler → the scheduler that it follows."""


@dataclass(frozen=True)
class Pair:
    """A checkpoint, and its bundle opened."""

    checkpoint: Path
    own: Pipeline

    def check(self, kind: Any, sampler: str | None = None, seed: int = 0, **settings: Any) -> None:
        """Compare the bundle's pictures with those of a pipeline of diffusers."""
        # What the file of another scheduler does not state, each class of diffusers decides.
        ends_at_one = self.own.bundle.schedule.set_alpha_to_one
        pipe = theirs(kind, self.checkpoint, sampler, set_alpha_to_one=ends_at_one)
        generator = torch.Generator().manual_seed(seed)
        expected = pipe(**settings, generator=generator, output_type="np").images
        ours = {**settings, "generator": TorchGenerator(seed), "sampler": sampler}
        assert_same(self.own(**ours, output_type="np", progress_bar=False).images, expected)


def pair_of(make: Callable[[Path], Path]) -> Any:
    """A fixture, which has the maker's name."""

    @pytest.fixture(scope="module", name=make.__name__.removeprefix("make_"))
    def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
        checkpoint, bundle = exported(tmp_path_factory, make)
        with trt_pipeline(bundle, backend="onnxruntime", verify="none") as own:
            yield Pair(checkpoint, own)

    return pair


def theirs(kind: Any, checkpoint: Path, sampler: str | None = None, **stated: Any) -> Any:
    """diffusers' pipeline of a checkpoint; sampler: another one than its own, with what its file
    would state."""
    pipe = kind.from_pretrained(checkpoint, safety_checker=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    if sampler is not None:
        scheduler = getattr(diffusers, SCHEDULERS[sampler])
        pipe.scheduler = scheduler.from_config(
            pipe.scheduler.config, clip_sample=False, skip_prk_steps=True, **stated
        )
    return pipe


def assert_same(found: Any, expected: Any) -> None:
    """The same pictures [B, H, W, 3] in 0..1: 99.9 % of the colours are within 1/255."""
    found, expected = (np.rint(np.asarray(one) * 255) for one in (found, expected))
    assert found.shape == expected.shape
    assert np.quantile(np.abs(found - expected), 0.999, method="higher") <= 1


def pixels(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth random picture, as a resized one would be."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def mask(height: int, width: int) -> Image.Image:
    """White where the picture is painted again, with an edge that cuts through latents."""
    white = np.zeros((height, width), np.uint8)
    white[height // 3 + 3 :, : width // 2 + 3] = 255
    return Image.fromarray(white)
