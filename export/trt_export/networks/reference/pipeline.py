"""The reference pipeline: diffusers' own, made of a checkpoint's loaded parts, and its pictures.

A family's data and the signatures of diffusers' classes say how to build and to call it.
"""

import inspect
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from trt_export.checkpoint.folder import Checkpoint
from trt_export.families import ON_REQUEST, Role
from trt_export.networks.weights.loading import Networks
from trt_pipeline.bundle.manifest import Condition
from trt_pipeline.errors import CheckpointError

FILE = "pictures.safetensors"
PROMPT = "A red CIRCLE above 2 small, blue squares; über-große Katzen, 猫!"
STEPS = 3
GUIDANCE_SCALE = 3.0
SIZES = {"original_size": (96, 72), "crops_coords_top_left": (8, 16), "target_size": (80, 64)}
"""For Stable Diffusion XL: six numbers that differ."""
LEAST_LATENTS, MOST_LATENTS = 4, 12
"""Along a side, where sizes can be chosen. Width and height differ, so that exchanged axes are
seen."""
LOW_RESOLUTION = 32
"""Pixels of the smallest picture that diffusers enlarges."""
IMAGES = ("image", "mask_image")
"""Arguments that are pictures."""
SEEDS = {"VQModel": 2}
"""Class of the VAE → how many pictures are drawn of it; one of any other. A latent that is a tie
between two codes takes either, as the order of float32 sums has it. That is rare: none of 58,000
latents in 72 pictures did, with 64 and 8,192 codes."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Pictures of the reference pipeline, and what they were asked for."""

    settings: Mapping[str, Any]
    """Arguments that both pipelines take, as JSON has them."""
    pictures: tuple[NDArray[np.float32], ...]
    """[H, W, 3] in 0..1, of the seeds from 0."""
    images: Mapping[str, NDArray[np.uint8]]
    """Argument → the picture that was given, such as `image` [h, w, 3]."""

    def save(self, folder: Path) -> None:
        """Write it into a folder, for load."""
        tensors: dict[str, NDArray[Any]] = {str(i): one for i, one in enumerate(self.pictures)}
        tensors |= self.images
        save_file(tensors, folder / FILE, {"settings": json.dumps(self.settings)})

    @classmethod
    def load(cls, folder: Path) -> "Drawing":
        """What save wrote."""
        with safe_open(folder / FILE, "numpy") as file:
            settings = json.loads(file.metadata()["settings"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        images = {name: tensors.pop(name) for name in IMAGES if name in tensors}
        return cls(settings, tuple(tensors[str(i)] for i in range(len(tensors))), images)


def draw(checkpoint: Checkpoint, networks: Networks) -> Drawing | None:
    """Pictures of few steps by the family's reference; None if it has none.

    The networks must be as loaded. CheckpointError if diffusers cannot draw with this checkpoint.
    """
    name = checkpoint.family.reference
    if name is None:
        return None
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            return _draw(_pipeline(name, checkpoint, networks), checkpoint, networks)
    except Exception as error:  # of any kind: a pipeline of diffusers met what it does not expect
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{checkpoint.path}: diffusers' {name} cannot draw a picture with it, so that there is "
            f"nothing to compare with ({type(error).__name__}: {reason:.200})."
        ) from error


def _draw(pipeline: Any, checkpoint: Checkpoint, networks: Networks) -> Drawing:
    settings = _known(
        pipeline,
        {
            "prompt": " ".join([PROMPT, *(one.token for one in checkpoint.inversions)]),
            "num_inference_steps": min(STEPS, pipeline.scheduler.config.num_train_timesteps),
            "guidance_scale": GUIDANCE_SCALE,
            "strength": 1.0,
            **SIZES,
        },
    )
    height, width = _size(networks)
    images = dict(_images(checkpoint.family.condition, networks, height, width))
    others: dict[str, Any] = {"height": height, "width": width, "eta": checkpoint.family.eta}
    others |= {name: Image.fromarray(pixels) for name, pixels in images.items()}
    pictures = []
    for seed in range(SEEDS.get(checkpoint.class_of("vae"), 1)):
        torch.manual_seed(seed)
        drawn = pipeline(**settings, **_known(pipeline, others), output_type="np").images
        pictures.append(np.ascontiguousarray(drawn[0], np.float32))
    return Drawing(settings, tuple(pictures), images)


def _known(pipeline: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a pipeline's call has."""
    parameters = inspect.signature(type(pipeline).__call__).parameters
    return {name: value for name, value in arguments.items() if name in parameters}


def _size(networks: Networks) -> tuple[int, int]:
    """Height and width in pixels: few, and no more than the model was trained for.

    Some pipelines count 8 pixels a latent and others the VAE's, so that either must give whole
    latents; what comes out says its own size.
    """
    pixels = max(networks.vae.pixels_per_latent, 8)
    native = networks.unet.config["sample_size"] * 8 // pixels
    width = _whole(networks, max(min(MOST_LATENTS, native), LEAST_LATENTS))
    return _whole(networks, max(2 * width // 3, LEAST_LATENTS)) * pixels, width * pixels


def _whole(networks: Networks, latents: int) -> int:
    """The next number of latents along a side that diffusers' UNet takes."""
    unit = networks.unet.whole_size
    return -(-max(latents, networks.unet.min_size) // unit) * unit


def _images(
    condition: Condition | None, networks: Networks, height: int, width: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The pictures that a condition is made of: random pixels, and a mask that cuts through
    latents."""
    if condition is None:
        return
    if condition == "low_resolution":
        height = width = _whole(networks, LOW_RESOLUTION)
    yield "image", np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    if condition == "masked_image":
        mask = np.zeros((height, width), np.uint8)
        mask[height // 3 :, : width // 2 + 3] = 255
        yield "mask_image", mask


def _pipeline(name: str, checkpoint: Checkpoint, networks: Networks) -> Any:
    """The pipeline, without the parts that families have no role for, such as safety checkers."""
    kind = getattr(diffusers, name)
    own: dict[str, Any] = {"scheduler": _scheduler(checkpoint)}
    for role in checkpoint.tokenizer_files:
        own[role] = _tokenizer(checkpoint, role, networks.tokens)
    for role in checkpoint.weights:
        own[role] = getattr(networks, role).module
    parts = {
        part.folder: own[role]
        for role, part in checkpoint.family.parts.items()
        if role not in ON_REQUEST
    }
    expected = inspect.signature(kind.__init__).parameters
    settings = {
        "force_zeros_for_empty_prompt": checkpoint.setting("force_zeros_for_empty_prompt", True),
        "add_watermarker": False,
    }
    parts |= {name: value for name, value in settings.items() if name in expected}
    required = [one for one in expected.values() if one.default is one.empty and one.name != "self"]
    pipeline = kind(**{one.name: None for one in required} | parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _scheduler(checkpoint: Checkpoint) -> Any:
    kind = getattr(diffusers, checkpoint.class_of("scheduler"))
    return kind.from_config(checkpoint.config("scheduler"))


def _tokenizer(checkpoint: Checkpoint, role: Role, tokens: int) -> Any:
    """The tokenizer as transformers reads it, for texts of so many tokens."""
    kind = getattr(transformers, checkpoint.class_of(role))
    with _tokenizer_folder(checkpoint, role) as folder:
        tokenizer = kind.from_pretrained(folder, local_files_only=True, model_max_length=tokens)
    tokenizer.add_tokens(checkpoint.new_tokens)
    return tokenizer


@contextmanager
def _tokenizer_folder(checkpoint: Checkpoint, role: Role) -> Iterator[Path]:
    """A folder as transformers writes it: the checkpoint's own, or one for a single file."""
    if checkpoint.path.is_dir():
        yield checkpoint.path / checkpoint.folder_of(role)
        return
    with TemporaryDirectory() as folder:
        for name, file in checkpoint.tokenizer_files[role].items():
            shutil.copyfile(file, Path(folder) / name)
        config = Path(folder) / "tokenizer_config.json"
        config.write_text(json.dumps(checkpoint.config(role)))
        yield Path(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks of diffusers and transformers to them: settings are checked elsewhere."""
    loggers = (diffusers.utils.logging, transformers.utils.logging)
    before = [one.get_verbosity() for one in loggers]
    for one in loggers:
        one.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.set_verbosity(level)
