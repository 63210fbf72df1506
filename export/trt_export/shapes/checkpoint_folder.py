"""Checkpoint folder: the trained networks in the published checkpoint's own layout."""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel

from trt_export.shapes.model import VOCABULARY, Networks

PUBLISHED = Path(__file__).parents[1] / "checkpoint" / "published" / "ldm_text2im_large_256"
"""Configurations of CompVis/ldm-text2im-large-256."""
COPIED = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
)
MODEL_CARD = "README.md"


def read_checkpoint(folder: Path) -> Networks:
    """The networks that `write_checkpoint` wrote, in float32."""
    plain = {"low_cpu_mem_usage": False, "local_files_only": True}
    networks = Networks(
        vae=AutoencoderKL.from_pretrained(folder / "vqvae", **plain),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", **plain),
        bert=LDMBertModel.from_pretrained(folder / "bert", local_files_only=True),
    )
    for network in (networks.vae, networks.unet, networks.bert):
        network.float().train()
    return networks


def write_checkpoint(out: Path, networks: Networks) -> None:
    """Writes weights as float16 safetensors; `out` is replaced as a whole, but for its model card.

    The networks are left in float16 on the CPU.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        fresh, former = Path(folder) / "fresh", Path(folder) / "former"
        parts = (("vqvae", networks.vae), ("unet", networks.unet), ("bert", networks.bert))
        for name, network in parts:
            network.to("cpu", torch.float16).save_pretrained(fresh / name)
        _load_as_float32(fresh / "bert" / "config.json")
        for path in COPIED:
            (fresh / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(PUBLISHED / path, fresh / path)
        shutil.copyfile(VOCABULARY, fresh / "tokenizer" / "vocab.txt")
        if (out / MODEL_CARD).exists():
            shutil.copyfile(out / MODEL_CARD, fresh / MODEL_CARD)
        if out.exists():
            out.rename(former)
        fresh.rename(out)


def _load_as_float32(config: Path) -> None:
    # transformers loads in the dtype named here, diffusers always in float32.
    fields = json.loads(config.read_text())
    config.write_text(json.dumps(fields | {"dtype": "float32"}, indent=2) + "\n")
