"""What a checkpoint's configurations say of it, as the entries of a manifest; no weight is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from trt_export.checkpoint.adapters.textual_inversions import notes_of_tokens
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.schedules.schedule import load_schedule
from trt_export.checkpoint.tokenizers.description import DescribedTokenizer, describe_tokenizer
from trt_export.networks.defaults import defaults_of, notes_of_defaults
from trt_export.networks.shape_check import check_shapes
from trt_export.networks.unets.settings import MIN_SIZE
from trt_export.networks.weights.loading import Networks, check_weights_fit, empty_networks
from trt_export.networks.weights.loras import check_loras
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
    tokenizer_2: DescribedTokenizer | None
    """Of a second text encoder."""
    min_latents: int
    """Smallest height and width of latents."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the checkpoint is read."""


@lru_cache(maxsize=8)
def describe(checkpoint: Checkpoint) -> Description:
    """What the configurations say; CheckpointError for what cannot be exported, or for parts that
    do not fit each other."""
    networks = empty_networks(checkpoint)
    check_loras(checkpoint.loras, networks.modules)
    _check_channels(checkpoint, networks)
    _check_tiny_decoder(checkpoint, networks)
    _check_context(checkpoint, networks)
    _check_pair(checkpoint, networks)
    _check_latents(checkpoint)
    _check_guidance(checkpoint, networks)
    _check_scheduler(checkpoint)
    schedule, sampler = load_schedule(checkpoint)
    defaults = defaults_of(checkpoint, networks, schedule, sampler)
    vocab_size = networks.text.vocab_size if networks.text else 0
    description = Description(
        model=_model(checkpoint, networks),
        defaults=defaults,
        schedule=schedule,
        tokenizer=describe_tokenizer(checkpoint, "tokenizer", networks.tokens, vocab_size),
        tokenizer_2=describe_tokenizer(checkpoint, "tokenizer_2", networks.tokens, vocab_size),
        min_latents=max(MIN_SIZE, networks.unet.min_size),
        notes=(
            *checkpoint.notes,
            *notes_of_tokens(checkpoint.inversions),
            *_notes(checkpoint),
            *notes_of_defaults(checkpoint, defaults),
        ),
    )
    check_weights_fit(checkpoint)
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
        zeros_for_empty_prompt=_zeros_for_empty_prompt(checkpoint),
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


def _check_tiny_decoder(checkpoint: Checkpoint, networks: Networks) -> None:
    """CheckpointError for a decoder of other latents."""
    tiny, vae = networks.tiny_decoder, networks.vae
    if tiny is None:
        return
    found = (tiny.latent_channels, tiny.pixels_per_latent)
    expected = (vae.latent_channels, vae.pixels_per_latent)
    if found != expected:
        raise CheckpointError(
            f"{checkpoint.configs['tiny_decoder']} decodes latents of {found[0]} channels to "
            f"{found[1]} pixels each, but the checkpoint's have {expected[0]} channels and "
            f"{expected[1]} pixels."
        )


def _check_context(checkpoint: Checkpoint, networks: Networks) -> None:
    read = sorted(networks.unet.context_widths)
    given = [networks.text.width] if networks.text else []
    if read != given:
        listed = [" and ".join(map(str, widths)) or "none" for widths in (read, given)]
        raise CheckpointError(
            f"{checkpoint.path}: the UNet reads text of width {listed[0]}, but the text encoder "
            f"gives width {listed[1]}. cross_attention_dim is "
            f"{networks.unet.config.get('cross_attention_dim')!r:.80}."
        )


def _check_pair(checkpoint: Checkpoint, networks: Networks) -> None:
    """CheckpointError for two text encoders that do not fit each other, or a UNet that reads
    another pooled text than they give."""
    second, read = networks.text_encoder_2, networks.unet.pooled_width
    given = second.pooled_width if second else 0
    if read != given:
        raise CheckpointError(
            f"{checkpoint.configs['unet']}: with its addition_embed_type, "
            "projection_class_embeddings_input_dim and addition_time_embed_dim, it reads a pooled "
            f"text of width {read}, but the text encoders give {given}."
        )
    if second and second.tokens != networks.tokens:
        raise CheckpointError(
            f"{checkpoint.configs['text_encoder_2']}: max_position_embeddings is {second.tokens}, "
            f"but {networks.tokens} in {checkpoint.configs['text_encoder']}."
        )


def _check_latents(checkpoint: Checkpoint) -> None:
    """CheckpointError for a VAE whose latents the reference normalises by channel."""
    config, names = checkpoint.config("vae"), ("latents_mean", "latents_std")
    if checkpoint.family.normalizes_latents and all(config.get(name) for name in names):
        raise CheckpointError(
            f"{checkpoint.configs['vae']}: latents_mean and latents_std are set, which diffusers' "
            f"{checkpoint.family.reference} reads; only models without them can be exported."
        )


def _zeros_for_empty_prompt(checkpoint: Checkpoint) -> bool:
    stated = checkpoint.setting("force_zeros_for_empty_prompt", True)
    if not isinstance(stated, bool):
        raise CheckpointError(
            f"{checkpoint.path}: force_zeros_for_empty_prompt is {stated!r:.80}, expected true or "
            "false."
        )
    return stated and checkpoint.family.zeros_for_empty_prompt


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
