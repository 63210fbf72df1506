"""Generations of Stable Diffusion: how the names in a single file tell them apart, and which
published model's configurations they have. diffusers decides by the same means."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from trt_export.checkpoint.single_files.weights import Prefixes
from trt_pipeline.bundle.manifest import Condition
from trt_pipeline.errors import CheckpointError

TextKind: TypeAlias = Literal["clip", "open_clip"]
Prediction: TypeAlias = Literal["epsilon", "v_prediction"]

PUBLISHED = Path(__file__).parents[1] / "published"
UNET = "model.diffusion_model."
VAE = "first_stage_model."
SUPPORTED = "Only files of Stable Diffusion 1.x, 2.x and XL can be exported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Models whose files have the same names."""

    name: str
    prefixes: Prefixes
    text_kinds: Mapping[str, TextKind]
    """Text encoder → whose names its weights have."""
    folder: str
    """Published configurations, in PUBLISHED."""
    pixels: Mapping[str, int]
    """Prediction type → height and width of pictures."""
    schedulers: Mapping[Condition | None, Mapping[str, Any]] = field(default_factory=dict)
    """Condition → what the published scheduler of such a model has else than the folder's."""
    head_channels: int | None = None
    """Channels of an attention head in the UNet; None for the published number of heads."""

    @property
    def published(self) -> Path:
        """The folder of its configurations."""
        return PUBLISHED / self.folder


GENERATIONS = (
    Generation(
        name="Stable Diffusion XL",
        prefixes={
            "text_encoder": "conditioner.embedders.0.transformer.",
            "text_encoder_2": "conditioner.embedders.1.model.",
            "unet": UNET,
            "vae": VAE,
        },
        text_kinds={"text_encoder": "clip", "text_encoder_2": "open_clip"},
        folder="stable_diffusion_xl",
        pixels={"epsilon": 1024, "v_prediction": 1024},
        head_channels=64,
    ),
    Generation(
        name="Stable Diffusion 2.x",
        prefixes={"text_encoder": "cond_stage_model.model.", "unet": UNET, "vae": VAE},
        text_kinds={"text_encoder": "open_clip"},
        folder="stable_diffusion_2_1",
        pixels={"epsilon": 512, "v_prediction": 768},
        schedulers={"masked_image": {"prediction_type": "epsilon"}},
        head_channels=64,
    ),
    Generation(
        name="Stable Diffusion 1.x",
        prefixes={"text_encoder": "cond_stage_model.transformer.", "unet": UNET, "vae": VAE},
        text_kinds={"text_encoder": "clip"},
        folder="stable_diffusion_1_5",
        pixels={"epsilon": 512, "v_prediction": 512},
        schedulers={
            "masked_image": {"_class_name": "DDIMScheduler"},
            "image": {"_class_name": "EulerAncestralDiscreteScheduler"},
        },
    ),
)
BERT = "cond_stage_model.transformer.token_emb.weight"
"""Of CompVis' first text-to-image model."""
LORA = "is a LoRA. Export the checkpoint that it belongs to with --lora"
OTHERS = {
    "lora_unet_": LORA,
    "lora_te": LORA,
    "unet.": "has diffusers' names, expected CompVis'. Give the folder in diffusers' layout",
    "down_blocks.": "is one part of a folder in diffusers' layout. Give the folder",
    "text_model.": "is one part of a folder in diffusers' layout. Give the folder",
    "control_model.": f"holds a ControlNet. {SUPPORTED}",
    "conditioner.embedders.0.model.": f"is Stable Diffusion XL's refiner. {SUPPORTED}, no refiner",
    "depth_model.": f"reads depth. {SUPPORTED}",
    "embedder.": f"is an unCLIP model. {SUPPORTED}",
    "edm_mean": f"is Playground 2.5, whose latents are scaled by edm_mean. {SUPPORTED}",
    "edm_vpred": f"counts noise as EDM does (edm_vpred). {SUPPORTED}",
    "model.diffusion_model.double_blocks.": f"is Flux. {SUPPORTED}",
    "model.diffusion_model.joint_blocks.": f"is Stable Diffusion 3. {SUPPORTED}",
    "double_blocks.": f"is Flux. {SUPPORTED}",
    "joint_blocks.": f"is Stable Diffusion 3. {SUPPORTED}",
}
"""How the names of other files begin → what they are."""


def is_bert(names: Iterable[str]) -> bool:
    """Whether a file is CompVis' first text-to-image model, the one before Stable Diffusion."""
    return BERT in names


def generation_of(path: Path, names: Iterable[str]) -> Generation:
    """The generation of a file; CheckpointError says what else it is, or what it lacks."""
    begun = [*names]
    for generation in GENERATIONS:
        text = [prefix for role, prefix in generation.prefixes.items() if "text" in role]
        if all(_has(begun, prefix) for prefix in text):
            _check_other(path, begun)
            _check_whole(path, generation, begun)
            return generation
    _check_other(path, begun)
    if _has(begun, UNET) or _has(begun, "input_blocks."):
        raise CheckpointError(
            f"{path} has no text encoder (cond_stage_model.* or conditioner.embedders.*), as files "
            "of a UNet alone. Give a file of the whole model."
        )
    raise CheckpointError(f"{path} is not a checkpoint that is known. {SUPPORTED}.")


def _check_other(path: Path, names: Iterable[str]) -> None:
    if any(".lora_" in name for name in names):
        raise CheckpointError(f"{path} {LORA}.")
    for beginning, what in OTHERS.items():
        if _has(names, beginning):
            raise CheckpointError(f"{path} {what}.")


def _check_whole(path: Path, generation: Generation, names: Iterable[str]) -> None:
    for role, prefix in generation.prefixes.items():
        if not _has(names, prefix):
            raise CheckpointError(
                f"{path} has no {role} ({prefix}*), expected a file of the whole "
                f"{generation.name} model."
            )


def _has(names: Iterable[str], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in names)
