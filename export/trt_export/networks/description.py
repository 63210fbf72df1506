"""What a checkpoint's configurations say of it, as the entries of a manifest; no weight is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.schedule import load_schedule
from trt_export.checkpoint.tokenizers import DescribedTokenizer, describe_tokenizer
from trt_export.networks.defaults import defaults_of, notes_of_defaults
from trt_export.networks.dry_run import check_shapes
from trt_export.networks.unet_settings import MIN_SIZE
from trt_export.networks.weights import Networks, empty_networks
from trt_pipeline.bundle.manifest import Defaults, ModelSpec, ScheduleSpec
from trt_pipeline.errors import CheckpointError

COUNT_IN_SIGMAS = (
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
)
"""Schedulers whose latents have a variance of 1 + sigma², which the UNet must not see."""
VQ_DEFAULT = 0.18215
"""VQModel's own scaling_factor, which is for another model."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a manifest says of a checkpoint."""

    model: ModelSpec
    defaults: Defaults
    schedule: ScheduleSpec
    tokenizer: DescribedTokenizer | None
    min_latents: int
    """Smallest height and width of latents."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the checkpoint is read."""


@lru_cache(maxsize=8)
def describe(checkpoint: Checkpoint) -> Description:
    """What the configurations say; CheckpointError for what cannot be exported, or for parts that
    do not fit each other."""
    networks = empty_networks(checkpoint)
    _check_channels(checkpoint, networks)
    _check_context(checkpoint, networks)
    _check_guidance(checkpoint, networks)
    _check_scheduler(checkpoint)
    schedule, sampler = load_schedule(checkpoint)
    defaults = defaults_of(checkpoint, networks, schedule, sampler)
    vocab_size = networks.text_encoder.vocab_size if networks.text_encoder else 0
    description = Description(
        model=_model(checkpoint, networks),
        defaults=defaults,
        schedule=schedule,
        tokenizer=describe_tokenizer(checkpoint, "tokenizer", networks.tokens, vocab_size),
        min_latents=max(MIN_SIZE, networks.unet.min_size),
        notes=(*_notes(checkpoint), *notes_of_defaults(checkpoint, defaults)),
    )
    check_shapes(checkpoint, networks)
    return description


def _model(checkpoint: Checkpoint, networks: Networks) -> ModelSpec:
    return ModelSpec(
        name=checkpoint.name,
        family=checkpoint.family.name,
        latent_channels=networks.vae.latent_channels,
        vae_scale_factor=networks.vae.pixels_per_latent,
        context_tokens=networks.tokens,
        condition=checkpoint.family.condition,
        guides_above_1_only=checkpoint.family.guides_above_1_only,
    )


def _check_channels(checkpoint: Checkpoint, networks: Networks) -> None:
    config, latent = networks.unet.config, networks.vae.latent_channels
    joined = checkpoint.family.condition_channels(latent)
    if not config["in_channels"] - joined == config["out_channels"] == latent:
        also = f", and the condition has {joined} channels more" if joined else ""
        raise CheckpointError(
            f"{checkpoint.configs['unet']}: in_channels is {config['in_channels']} and "
            f"out_channels {config['out_channels']}, but {checkpoint.configs['vae']} makes latents "
            f"of latent_channels {latent}{also}."
        )


def _check_context(checkpoint: Checkpoint, networks: Networks) -> None:
    read = sorted(networks.unet.context_widths)
    given = [networks.text_encoder.width] if networks.text_encoder else []
    if read != given:
        listed = [" and ".join(map(str, widths)) or "none" for widths in (read, given)]
        raise CheckpointError(
            f"{checkpoint.path}: the UNet reads text of width {listed[0]}, but the text encoder "
            f"gives width {listed[1]}. cross_attention_dim is "
            f"{networks.unet.config.get('cross_attention_dim')!r:.80}."
        )


def _check_guidance(checkpoint: Checkpoint, networks: Networks) -> None:
    width, family = networks.unet.guidance_width, checkpoint.family
    if (width is not None) != family.embeds_guidance:
        expected = "a number" if family.embeds_guidance else "None"
        raise CheckpointError(
            f"{checkpoint.configs['unet']}: time_cond_proj_dim is {width}, but the family "
            f"{family.name} expects {expected}."
        )


def _check_scheduler(checkpoint: Checkpoint) -> None:
    """CheckpointError for a scheduler with which the reference draws noise."""
    name, family = checkpoint.class_of("scheduler"), checkpoint.family
    if family.reference and not family.scales_input and name in COUNT_IN_SIGMAS:
        raise CheckpointError(
            f"{checkpoint.configs['scheduler']}: a {name} asks its pipeline to scale what the UNet "
            f"reads, but diffusers' {family.reference} does not, and draws noise with it. Put a "
            "DDIMScheduler there, and choose the sampler of each picture with --sampler."
        )


def _notes(checkpoint: Checkpoint) -> Iterator[str]:
    family, path = checkpoint.family, checkpoint.configs["vae"]
    if family.reference is None:
        yield (
            f"{family.name}: no pipeline of diffusers draws such pictures, so that graphs are "
            "compared, but no finished picture."
        )
    if family.scales_latents and checkpoint.class_of("vae") == "VQModel":
        stated = checkpoint.config("vae").get("scaling_factor")
        if stated is None:
            yield (
                f"{path} states no scaling_factor: latents are decoded as they are, as CompVis "
                f"trained its VQ models. diffusers would divide them by {VQ_DEFAULT}."
            )
        elif stated == VQ_DEFAULT:
            yield (
                f"{path}: scaling_factor is {VQ_DEFAULT}, diffusers' default, and latents are "
                "divided by it, as diffusers does. CompVis' VQ models were trained with 1."
            )
