"""Configurations of small checkpoints with unusual architectures, without weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trt_export.checkpoint.folder import Checkpoint
from trt_export.families import Role, families

TEXT, PLAIN = "ldm_text_to_image", "ldm_unconditional"

CONDITIONAL_UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "cross_attention_dim": 16,
}
UNCONDITIONAL_UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
FIRST_STAGE: dict[str, Any] = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
}
TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": 20,
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "head_dim": 8,
}
MODELS: Mapping[str, Mapping[Role, tuple[str, dict[str, Any]]]] = {
    TEXT: {
        "text_encoder": ("LDMBertModel", TEXT_ENCODER),
        "unet": ("UNet2DConditionModel", CONDITIONAL_UNET),
        "vae": ("AutoencoderKL", FIRST_STAGE),
    },
    PLAIN: {
        "unet": ("UNet2DModel", UNCONDITIONAL_UNET),
        "vae": ("VQModel", {"num_vq_embeddings": 16, **FIRST_STAGE}),
    },
}
Changes = Mapping[str, Mapping[str, Any]]


def write(folder: Path, family: str, changes: Changes) -> Checkpoint:
    """A checkpoint's configurations, without weights."""
    found, index = families()[family], {}
    for role, (kind, config) in MODELS[family].items():
        part = found.parts[role]
        index[part.folder] = ["", kind]
        (folder / part.folder).mkdir(parents=True)
        plain = next(name for name in part.weights if name.endswith(".safetensors"))
        (folder / part.folder / plain).touch()
        text = json.dumps(config | dict(changes.get(role, {})))
        (folder / part.folder / part.config).write_text(text)
    (folder / "model_index.json").write_text(json.dumps(index))
    return Checkpoint(folder, "small", found)


DEEP = {"block_out_channels": [8] * 4, "sample_size": 16}
RESNET = (
    ["ResnetDownsampleBlock2D", "CrossAttnDownBlock2D"],
    [
        "CrossAttnUpBlock2D",
        "ResnetUpsampleBlock2D",
    ],
)


def blocks(down: list[str], up: list[str]) -> dict[str, Any]:
    return {"down_block_types": down, "up_block_types": up}
