"""Full-size twins: published models with seeded random weights.

A twin has the published model's configurations, tokenizer and tensor shapes, so it costs what the
published one costs: for benchmarks and tests where the published weights are out of reach.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from huggingface_hub import save_torch_state_dict
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from trt_export.checkpoint.files.texts import read_object
from trt_export.checkpoint.tokenizers.clip_vocabulary import write_clip_tokenizer
from trt_pipeline.command_line.console import run
from trt_pipeline.errors import InvalidInputError

PUBLISHED = Path(__file__).parent / "checkpoint" / "published"
TEXT_TO_IMAGE = PUBLISHED / "ldm_text2im_large_256"
MODELS = {
    "ldm-text2im-large-256": "ldm_text2im_large_256",
    "stable-diffusion-1.5": "stable_diffusion_1_5",
    "stable-diffusion-2.1": "stable_diffusion_2_1",
    "sdxl": "stable_diffusion_xl",
}
"""Name of a published model → the folder of its configurations."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
MAX_SHARD_BYTES = 4 * 10**9


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of networks."""

    make: Callable[[dict[str, Any]], Any]
    """A network with random weights, from its configuration."""
    stem: str
    """How the name of its weight file begins."""
    prefix: str = ""
    """How the names of its weights begin."""


KINDS: Mapping[str, Kind] = {
    "AutoencoderKL": Kind(AutoencoderKL.from_config, "diffusion_pytorch_model"),
    "CLIPTextModel": Kind(
        lambda config: CLIPTextModel(CLIPTextConfig(**config)), "model", "text_model."
    ),
    "CLIPTextModelWithProjection": Kind(
        lambda config: CLIPTextModelWithProjection(CLIPTextConfig(**config)), "model"
    ),
    "LDMBertModel": Kind(lambda config: LDMBertModel(LDMBertConfig.from_dict(config)), "model"),
    "UNet2DConditionModel": Kind(UNet2DConditionModel.from_config, "diffusion_pytorch_model"),
}


def make_twin(
    folder: Path,
    model: str = "ldm-text2im-large-256",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the twin of a model, one of MODELS, to a new folder. As float32, it takes 5.9 GB for
    ldm-text2im-large-256, 4.3 GB for stable-diffusion-1.5 and 13.9 GB for sdxl."""
    if folder.exists():
        raise InvalidInputError(f"{folder} exists already. Name a new folder, or delete it.")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(PUBLISHED / MODELS[model], partial)
    torch.manual_seed(seed)
    for part, entry in read_object(partial / "model_index.json").items():
        kind = str(entry[-1]) if isinstance(entry, list) else ""
        if kind in KINDS:
            _write_weights(partial / part, KINDS[kind], dtype)
        elif kind == "CLIPTokenizer":
            _write_tokenizer(partial / part)
    partial.rename(folder)


def _write_weights(folder: Path, kind: Kind, dtype: torch.dtype) -> None:
    """In shards, so that memory holds one of them beside the network."""
    network = kind.make(read_object(folder / "config.json"))
    save_torch_state_dict(
        {
            _published(kind, name): weight.detach().to(dtype)
            for name, weight in network.state_dict().items()
        },
        folder,
        filename_pattern=f"{kind.stem}{{suffix}}.safetensors",
        max_shard_size=MAX_SHARD_BYTES,
    )


def _write_tokenizer(folder: Path) -> None:
    """CLIP's, which pads as the published one does."""
    pad_token = read_object(folder / "special_tokens_map.json")["pad_token"]
    write_clip_tokenizer(folder, pad_token)


def _published(kind: Kind, name: str) -> str:
    """The name that published files have for a weight; transformers before 5.6 reads no other."""
    return name if name.startswith(kind.prefix) else kind.prefix + name


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--family",
    type=click.Choice(list(MODELS)),
    default="ldm-text2im-large-256",
    show_default=True,
    help="The published model.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random weights.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="fp32", show_default=True)
def command(folder: Path | None, family: str, seed: int, dtype: str) -> None:
    """Write a checkpoint of the size of a published model to FOLDER, which is called like the model
    by default."""
    folder = folder or Path(family)
    make_twin(folder, family, seed=seed, dtype=DTYPES[dtype])
    click.echo(folder)


if __name__ == "__main__":
    raise SystemExit(run(command))
