"""Names of tensors in files of LoRAs, as diffusers, PEFT and kohya's scripts write them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from trt_export.families import Role
from trt_pipeline.errors import CheckpointError

Matrix: TypeAlias = Literal["down", "up", "mid", "alpha"]

ENDINGS: Mapping[str, Matrix] = {
    "lora_down": "down",
    "lora_up": "up",
    "lora_mid": "mid",
    "lora_A": "down",
    "lora_B": "up",
}
KEY = re.compile(
    r"(?P<layer>.+?)"
    r"(?:\.(?P<ending>lora_down|lora_up|lora_mid|lora_A|lora_B)(?:\.\w+)?\.weight"
    r"|[._]lora(?:_linear_layer)?\.(?P<matrix>down|up)\.weight"
    r"|(?:[._]lora(?:_linear_layer)?)?\.(?P<alpha>alpha))",
    re.ASCII,
)
"""A layer's name, then kohya's or PEFT's ending (with the name of an adapter), diffusers' or the
alpha of any of them."""
OTHER_METHODS: Mapping[str, str] = {
    r"hada_": "a LoHa",
    r"lokr_": "a LoKr",
    r"dora_scale|lora_magnitude_vector": "a DoRA",
    r"oft_": "an OFT",
    r"ia3_|\.on_input$": "an IA3",
    r"glora|\.[ab][12]\.weight$": "a GLoRA",
    r"lora_embedding_": "a LoRA of an embedding",
    r"lora_controlnet": "a Control-LoRA",
    r"bundle_emb": "an embedding that is packed with a LoRA",
    r"\.diff(_b)?$": "a difference of whole weights",
    r"bias": "a LoRA with biases",
}
"""Part of a tensor's name → what it belongs to, which is not fused."""
ROLES: Mapping[str, Role] = {
    "unet.": "unet",
    "diffusion_model.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
"""How a name begins → the part of the checkpoint that it is for."""
PEFT = "base_model.model."
"""Names of a PEFT model begin so."""


@dataclass(frozen=True, slots=True)
class LoraLayer:
    """The tensors that a file has for one layer."""

    spelled: str
    """The layer, as the file spells it."""
    names: Mapping[Matrix, str]
    """Their names: always of down and up."""

    @property
    def role(self) -> Role | None:
        """The part that it is for; None if its name does not say so."""
        return next((ROLES[p] for p in ROLES if self.spelled.startswith(p)), None)

    @property
    def is_peft(self) -> bool:
        """Whether it is a PEFT model's, which has its alpha in a file beside it."""
        return PEFT in self.spelled

    @property
    def name(self) -> str:
        """The layer without what begins its name and what processors added to it."""
        prefix = next((p for p in ROLES if self.spelled.startswith(p)), "")
        name = self.spelled.removeprefix(prefix).removeprefix(PEFT)
        return name.replace(".processor.", ".")


def lora_layers(path: Path, names: Iterable[str]) -> list[LoraLayer]:
    """The layers of a file with tensors of these names; CheckpointError for tensors that belong to
    anything but LoRAs."""
    found: dict[str, dict[Matrix, str]] = {}
    for layer, matrix, name in _parsed(path, names):
        matrices = found.setdefault(layer, {})
        if matrix in matrices:
            raise CheckpointError(f"{path}: {matrices[matrix]} and {name} are one matrix.")
        matrices[matrix] = name
    for layer, matrices in found.items():
        for needed in ("down", "up"):
            if needed not in matrices:
                raise CheckpointError(f"{path}: {layer} has no {needed}. Download it again.")
    if not found:
        raise CheckpointError(f"{path} holds no LoRA: it has no tensors.")
    return [LoraLayer(layer, matrices) for layer, matrices in found.items()]


def _parsed(path: Path, names: Iterable[str]) -> Iterator[tuple[str, Matrix, str]]:
    for name in names:
        match = KEY.fullmatch(name)
        other = next((what for part, what in OTHER_METHODS.items() if re.search(part, name)), None)
        if other or not match:
            belongs = f"belongs to {other}" if other else "is not a LoRA's"
            raise CheckpointError(
                f"{path}: {name:.120} {belongs}. Only LoRAs can be fused: pairs of lora_down and "
                "lora_up, or of lora_A and lora_B."
            )
        ending, matrix = match["ending"], match["matrix"]
        kind: Matrix = ENDINGS[ending] if ending else "down" if matrix == "down" else "up"
        yield match["layer"], "alpha" if match["alpha"] else kind, name
