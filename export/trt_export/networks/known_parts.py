"""The classes of parts that can be exported: what builds them, and what they can do."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from torch import nn

from trt_export.networks.autoencoders.autoencoder import KLAutoencoder, VQAutoencoder
from trt_export.networks.autoencoders.tiny import TinyAutoencoder
from trt_export.networks.safety.checker import SafetyChecker
from trt_export.networks.texts.clip import CLIPText
from trt_export.networks.texts.clip_pair import CLIPTextWithProjection
from trt_export.networks.texts.ldm_bert import LDMBert
from trt_export.networks.unets.unet import ConditionalUNet, UnconditionalUNet


class KnownPart(Protocol):
    """A part as diffusers made it, with what an export asks of it."""

    module: Any

    def __init__(self, module: Any) -> None: ...

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """A module without weights; ValueError for a setting that cannot be exported."""


Kind: TypeAlias = type[KnownPart]

KNOWN_PARTS: Mapping[str, Kind] = {
    "AutoencoderKL": KLAutoencoder,
    "CLIPTextModel": CLIPText,
    "CLIPTextModelWithProjection": CLIPTextWithProjection,
    "AutoencoderTiny": TinyAutoencoder,
    "LDMBertModel": LDMBert,
    "StableDiffusionSafetyChecker": SafetyChecker,
    "UNet2DConditionModel": ConditionalUNet,
    "UNet2DModel": UnconditionalUNet,
    "VQModel": VQAutoencoder,
}
"""Name of diffusers' class → what stands for it here."""
