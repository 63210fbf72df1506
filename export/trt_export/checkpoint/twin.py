"""The full-size twin: CompVis/ldm-text2im-large-256 with seeded random weights.

It has the published model's configurations, tokenizer and tensor shapes, so it costs what the
published one costs: for benchmarks and tests where the published weights are out of reach.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from safetensors.torch import save_file

from trt_export.checkpoint.folder import Checkpoint
from trt_export.families import Role
from trt_export.families.ldm_text_to_image import FAMILY
from trt_pipeline.command_line.console import run
from trt_pipeline.errors import InvalidInputError

PUBLISHED = Path(__file__).parent / "published" / "ldm_text2im_large_256"
RANDOM: Mapping[Role, Callable[[dict[str, Any]], Any]] = {
    "text_encoder": lambda config: LDMBertModel(LDMBertConfig.from_dict(config)),
    "unet": UNet2DConditionModel.from_config,
    "vae": AutoencoderKL.from_config,
}
"""Networks with random weights, from their configurations."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def make_twin(folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
    """Write the twin to a new folder: 5.9 GB as float32, 2.9 GB as float16."""
    if folder.exists():
        raise InvalidInputError(f"{folder} exists already. Name a new folder, or delete it.")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(PUBLISHED, partial)
    source = Checkpoint(PUBLISHED, folder.name, FAMILY)
    torch.manual_seed(seed)
    for role, make in RANDOM.items():
        weights = make(source.config(role)).state_dict()
        state = {name: t.detach().to(dtype) for name, t in weights.items()}
        part = FAMILY.parts[role]
        name = next(name for name in part.weights if name.endswith(".safetensors"))
        save_file(state, partial / part.folder / name, metadata={"format": "pt"})
    partial.rename(folder)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the random weights.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="fp32", show_default=True)
def command(folder: Path, seed: int, dtype: str) -> None:
    """Write a checkpoint of the size of CompVis/ldm-text2im-large-256 to FOLDER."""
    make_twin(folder, seed=seed, dtype=DTYPES[dtype])
    click.echo(folder)


if __name__ == "__main__":
    raise SystemExit(run(command))
