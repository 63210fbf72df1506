"""StableDiffusionSafetyChecker, and the graph safety_checker: which pictures must not be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import (
    StableDiffusionSafetyChecker,
    cosine_distance,
)
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPVisionConfig
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from trt_export.networks.safety.clip_pictures import CLIPPictures
from trt_export.networks.settings import (
    HARMLESS,
    POSITIVE,
    PROBABILITY,
    Rules,
    check_settings,
    list_of,
    number,
    only,
    whole,
)
from trt_export.networks.texts.clip import attend
from trt_pipeline.errors import CheckpointError

WIDTH = whole(1, 2**16)
VISION: Rules = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "projection_dim": HARMLESS,
    "num_hidden_layers": whole(1, 256),
    "num_attention_heads": WIDTH,
    "num_channels": only(3),
    "image_size": whole(1, 4096),
    "patch_size": whole(1, 4096),
    "hidden_act": only("quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"),
    "layer_norm_eps": POSITIVE,
    "attention_dropout": PROBABILITY,
    "initializer_range": HARMLESS,
    "initializer_factor": HARMLESS,
}
"""CLIPVisionConfig's; the module has a projection of its own."""
PICTURES: Mapping[str, Any] = {
    "image_mean": list_of(number(-1e3, 1e3), 3),
    "image_std": list_of(POSITIVE, 3),
    "do_center_crop": only(True),
    "do_convert_rgb": only(True, None),
    "do_normalize": only(True),
    "do_rescale": only(True),
    "do_resize": only(True),
    "resample": only(3),
    "rescale_factor": only(1 / 255),
}
"""What the feature extractor may do: CLIPImageProcessor's defaults, at any size."""
DEFAULTS: Mapping[str, Any] = {
    "image_mean": OPENAI_CLIP_MEAN,
    "image_std": OPENAI_CLIP_STD,
    "resample": 3,
    "rescale_factor": 1 / 255,
}
"""Of CLIPImageProcessor, which does by default all that it can do."""
PROCESSOR: Any = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
"""transformers 5 has one with Pillow and one with torchvision, which resizes otherwise."""
SELDOM = 2e-3
"""Part of the pixels."""
STRICTER = 0.01
"""By how much a picture of a special concept lowers the thresholds of the others."""


class SafetyChecker:
    """The safety checker as diffusers made it."""

    pictures: "PictureSettings"

    def __init__(self, module: Any) -> None:
        self.module = module

    def prepare(self, config: Mapping[str, Any]) -> None:
        """Read how pictures are given to it; ValueError for what cannot be exported."""
        self.pictures = picture_settings(config, self.module.config.vision_config.image_size)

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        full = CLIPConfig(**config)
        vision = full.vision_config.to_dict()
        settings = check_settings(CLIPVisionConfig, vision, VISION)
        for divisor, divided in (
            ("num_attention_heads", "hidden_size"),
            ("patch_size", "image_size"),
        ):
            if settings[divided] % settings[divisor]:
                raise ValueError(
                    f"vision_config: {divided} is {settings[divided]}, which {divisor}, "
                    f"{settings[divisor]}, does not divide"
                )
        return StableDiffusionSafetyChecker(full)

    def answers(self, image: Tensor) -> dict[str, Tensor]:
        """What diffusers makes of uint8 pictures [B, H, W, 3]: verdicts int32 [B], and scores
        [B, concepts]."""
        module, count = self.module, len(image)
        if image.is_meta:
            scores = torch.empty(count, len(module.concept_embeds))
            return {
                "has_nsfw_concept": torch.empty(count, dtype=torch.int32),
                "concept_scores": scores,
            }
        given = self._given(image)
        _, verdicts = module(clip_input=given, images=[one.numpy() for one in image])
        embeds = module.visual_projection(module.vision_model(given)[1])
        special = cosine_distance(embeds, module.special_care_embeds)
        is_special = _exceeds(special - module.special_care_embeds_weights).any(dim=1, keepdim=True)
        likeness = cosine_distance(embeds, module.concept_embeds) - module.concept_embeds_weights
        return {
            "has_nsfw_concept": torch.tensor(verdicts, dtype=torch.int32),
            "concept_scores": likeness + STRICTER * is_special,
        }

    def _given(self, image: Tensor) -> Tensor:
        """Pictures as the network reads them, [B, 3, side, side].

        CheckpointError where they are not Pillow's. Where a pixel lies between two levels, its
        integer arithmetic may take the other one, which a network may amplify.
        """
        pictures = [Image.fromarray(one.numpy()) for one in image]
        processor = PROCESSOR(**self.pictures.processor())
        theirs = processor.preprocess(pictures, return_tensors="pt")["pixel_values"]
        ours = CLIPPictures(**asdict(self.pictures))(image)
        levels = (ours - theirs).abs() * torch.tensor(self.pictures.std)[:, None, None] * 255
        if levels.max() > 1.01 or (levels > 0.5).float().mean() > SELDOM:
            raise CheckpointError(
                f"{PROCESSOR.__name__} resizes pictures in another way than Pillow did when this "
                "was written. Please report it with your versions of transformers and Pillow."
            )
        return ours

    def traceable(self) -> nn.Module:
        """The graph's module."""
        return TraceableSafetyChecker(self.module, CLIPPictures(**asdict(self.pictures)))


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """How pictures are given to the network."""

    edge: int
    """What the shorter edge is resized to."""
    side: int
    """Of the square in the middle that it reads."""
    mean: Sequence[float]
    std: Sequence[float]

    def processor(self) -> dict[str, Any]:
        """The same as arguments of transformers' class."""
        return {
            "size": {"shortest_edge": self.edge},
            "crop_size": {"height": self.side, "width": self.side},
            "image_mean": [*self.mean],
            "image_std": [*self.std],
        }


def picture_settings(config: Mapping[str, Any], side: int) -> PictureSettings:
    """What preprocessor_config.json says; ValueError for a setting that cannot be exported.

    side: of the pictures that the network reads.
    """
    defaults = {**dict.fromkeys(PICTURES, True), **DEFAULTS}
    settings = {name: config.get(name, default) for name, default in defaults.items()}
    for name, value in settings.items():
        plain = int(value) if name == "resample" else value
        if not PICTURES[name].holds(plain):
            raise ValueError(
                f"{name} is {value!r:.80}; only {PICTURES[name].wanted} can be exported"
            )
    edge = _edge("size", config.get("size", side), ("shortest_edge",))
    crop = _edge("crop_size", config.get("crop_size", side), ("height", "width"))
    if crop != side or edge < crop:
        raise ValueError(
            f"size is {edge} and crop_size {crop}, but the safety checker reads {side} pixels"
        )
    return PictureSettings(edge, side, settings["image_mean"], settings["image_std"])


def _edge(name: str, value: Any, keys: tuple[str, ...]) -> int:
    """A number of pixels, which today's configurations have under names."""
    given = [value.get(key) for key in keys] if isinstance(value, dict) else [value]
    if not (isinstance(given[0], int) and len({*given}) == 1 and 1 <= given[0] <= 4096):
        raise ValueError(f"{name} is {value!r:.80}; only a square of pixels can be exported")
    return given[0]


class TraceableSafetyChecker(nn.Module):
    """image uint8 [B, H, W, 3] → has_nsfw_concept int32 [B], concept_scores float32 [B, concepts]:
    above 0 for what must not be shown."""

    def __init__(self, checker: Any, pictures: CLIPPictures) -> None:
        super().__init__()
        self.pictures = pictures
        self.vision = getattr(checker.vision_model, "vision_model", checker.vision_model)
        self.projection = checker.visual_projection
        self.concepts: nn.Parameter = checker.concept_embeds
        self.special: nn.Parameter = checker.special_care_embeds
        self.concept_limits: nn.Parameter = checker.concept_embeds_weights
        self.special_limits: nn.Parameter = checker.special_care_embeds_weights

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        embeds = self.projection(self._pooled(self.pictures(image))).float()
        special = _exceeds(_likeness(embeds, self.special) - self.special_limits.float())
        stricter = STRICTER * special.any(dim=1, keepdim=True).float()
        scores = _likeness(embeds, self.concepts) - self.concept_limits.float() + stricter
        return _exceeds(scores).any(dim=1).to(torch.int32), scores

    def _pooled(self, pixels: Tensor) -> Tensor:
        """What the first token has become: [B, width]."""
        vision, embeddings = self.vision, self.vision.embeddings
        dtype = embeddings.patch_embedding.weight.dtype
        patches = embeddings.patch_embedding(pixels.to(dtype)).flatten(2).transpose(1, 2)
        first = embeddings.class_embedding.expand(len(pixels), 1, -1)
        states = torch.cat([first, patches], dim=1).float()
        states = vision.pre_layrnorm(states + embeddings.position_embedding.weight.float()).float()
        for layer in vision.encoder.layers:
            states = states + attend(layer.self_attn, layer.layer_norm1(states)).float()
            states = states + layer.mlp(layer.layer_norm2(states)).float()
        return vision.post_layernorm(states[:, 0])


def _likeness(embeds: Tensor, others: Tensor) -> Tensor:
    """Cosine of the angle between vectors [B, P] and [N, P]: [B, N]."""
    normal = nn.functional.normalize
    return normal(embeds) @ normal(others.float()).T


def _exceeds(scores: Tensor) -> Tensor:
    """Whether scores are above 0, once rounded to three digits as diffusers does."""
    return torch.round(scores * 1000) > 0
