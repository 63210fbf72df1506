"""What a single file of Stable Diffusion does not say: taken from the published model, as diffusers
does, from the shapes of the weights, from a YAML, or from a folder of configurations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_export.checkpoint.configs.model_index import INDEX, check_index, family_of
from trt_export.checkpoint.files.tensors import Shapes
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.single_files.compvis_config import LatentDiffusion
from trt_export.checkpoint.single_files.generations import UNET, Generation
from trt_export.checkpoint.single_files.marks import Marks
from trt_export.checkpoint.single_files.part_configs import (
    clip_config,
    head_counts,
    open_clip_config,
    vae_config,
)
from trt_export.checkpoint.single_files.shapes import below, shape_of
from trt_export.checkpoint.single_files.unet_config import unet_config
from trt_export.checkpoint.single_files.yaml_networks import PREDICTIONS
from trt_export.families import Family, Role, families
from trt_pipeline.errors import CheckpointError

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """Configurations in diffusers' words, and where they are from."""

    family: Family
    folder: Checkpoint
    """Whose model_index.json and tokenizers are meant."""
    configs: Mapping[Role, Config]
    sources: Mapping[Role, Path]
    """Part → the file that messages name."""
    files: Mapping[str, Path]
    """Read besides the weights, under the names that provenance has for them."""
    use_ema: bool = False
    """Whether to take the moving averages of the UNet's weights."""
    notes: tuple[str, ...] = ()


def from_folder(path: Path, folder: Path, generation: Generation) -> Settings:
    """The configurations of a folder in diffusers' layout, which needs no weights; CheckpointError
    if it is not of the file's generation."""
    if not (folder / INDEX).is_file():
        raise CheckpointError(
            f"{folder} has no {INDEX}. Give --config a YAML, or a folder in diffusers' layout."
        )
    family = family_of(folder)
    check_index(folder, family)
    theirs = Checkpoint(folder, folder.name, family)
    roles = {role for role, part in family.parts.items() if part.weights}
    if roles != generation.prefixes.keys():
        raise CheckpointError(
            f"{folder / INDEX} is of a {family.pipeline}, but {path} holds the weights of "
            f"{generation.name}: {', '.join(generation.prefixes)}."
        )
    configs: dict[Role, Config] = {role: theirs.config(role) for role in theirs.configs}
    files = {INDEX: folder / INDEX}
    files |= {file.relative_to(folder).as_posix(): file for file in theirs.configs.values()}
    named = {f"config/{name}": file for name, file in files.items()}
    return Settings(family, theirs, configs, theirs.configs, named)


def from_shapes(
    path: Path,
    generation: Generation,
    shapes: Shapes,
    marks: Marks,
    stated: LatentDiffusion | None = None,
    yaml: Path | None = None,
) -> Settings:
    """The published configurations, with what the shapes, marks in the file and a YAML say."""
    base = Checkpoint(generation.published, path.stem, family_of(generation.published))
    family = _family(path, base.family, shapes)
    try:
        scheduler = _scheduler(generation, family, base, marks, stated)
        pixels = generation.pixels[scheduler["prediction_type"]]
        configs: dict[Role, Config] = {"scheduler": scheduler}
        for role in generation.prefixes:
            known = base.config(role)
            known.pop("_diffusers_version", None)
            configs[role] = {**known, **_from_weights(generation, role, shapes)}
        if stated:
            configs["unet"] |= stated.as_diffusers("unet")
            configs["vae"] |= stated.as_diffusers("vae")
        per_latent = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
        configs["unet"]["sample_size"] = pixels // per_latent
        configs["vae"]["sample_size"] = pixels
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}. Give its configurations with --config: a folder in diffusers' "
            "layout, or a YAML."
        ) from None
    return Settings(
        family=family,
        folder=base,
        configs=configs,
        sources=dict.fromkeys(configs, yaml or path),
        files={f"config/{yaml.name}": yaml} if yaml else {},
        use_ema=bool(stated and stated.use_ema),
        notes=marks.notes(path, scheduler["prediction_type"], generation, stated is not None),
    )


def _family(path: Path, plain: Family, shapes: Shapes) -> Family:
    """The family with the same parts whose UNet reads so many channels."""
    try:
        given = shape_of(shapes, f"{UNET}input_blocks.0.0.weight", 4)[1]
        made = shape_of(shapes, f"{UNET}out.2.weight", 4)[0]
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}. Download it again.") from None
    known = {
        made + family.condition_channels(made): family
        for family in families().values()
        if family.parts == plain.parts and not family.embeds_guidance
    }
    if given not in known:
        listed = " or ".join(map(str, sorted(known)))
        raise CheckpointError(
            f"{path}: its UNet reads {given} channels, but one whose latents have {made} can be "
            f"exported with {listed} only."
        )
    return known[given]


def _scheduler(
    generation: Generation,
    family: Family,
    base: Checkpoint,
    marks: Marks,
    stated: LatentDiffusion | None,
) -> Config:
    """The scheduler's configuration; a YAML says more than a mark, and a mark than what models of
    the kind usually have."""
    config = {"prediction_type": "epsilon", **base.config("scheduler")}
    config |= generation.schedulers.get(family.condition, {})
    if stated is None:
        return config | marks.scheduler(config["_class_name"])
    return config | {
        "beta_start": stated.linear_start,
        "beta_end": stated.linear_end,
        "beta_schedule": stated.evenly_spaced,
        "num_train_timesteps": stated.timesteps,
        "prediction_type": PREDICTIONS[stated.parameterization],
    }


def _from_weights(generation: Generation, role: Role, shapes: Shapes) -> Config:
    own = below(generation.prefixes[role], shapes)
    match role:
        case "unet":
            return _unet(generation, own, shapes)
        case "vae":
            return vae_config(own)
        case _ if generation.text_kinds[role] == "clip":
            return clip_config(own)
        case _:
            return open_clip_config(own, reads_last=role == "text_encoder_2")


def _unet(generation: Generation, own: Shapes, shapes: Shapes) -> Config:
    config = unet_config(own)
    if generation.head_channels:
        channels = config["block_out_channels"]
        config["attention_head_dim"] = head_counts(channels, generation.head_channels)
    if "text_encoder_2" in generation.prefixes:
        pooled = f"{generation.prefixes['text_encoder_2']}text_projection"
        config |= _added(own, shape_of(shapes, pooled, 2)[1])
    return config


def _added(own: Shapes, pooled: int) -> Config:
    """What joins the time in XL: the pooled text, and six numbers of one width."""
    joined = shape_of(own, "label_emb.0.0.weight", 2)[1]
    width, rest = divmod(joined - pooled, 6)
    if rest or width < 1:
        raise ValueError(
            f"its UNet reads {joined} numbers of text and sizes, of which {pooled} are"
            " text, and six sizes cannot share the rest"
        )
    return {"projection_class_embeddings_input_dim": joined, "addition_time_embed_dim": width}
