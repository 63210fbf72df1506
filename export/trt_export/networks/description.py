"""What a checkpoint's configurations say of it, as the entries of a manifest; no weight is read."""

from dataclasses import dataclass
from functools import lru_cache

from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.schedule import load_schedule
from trt_export.checkpoint.tokenizers import describe_tokenizer
from trt_export.networks.dry_run import check_shapes
from trt_export.networks.graphs import CONDITION_CHANNELS
from trt_export.networks.unet_settings import MIN_SIZE
from trt_export.networks.weights import Networks, empty_networks
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import Defaults, ModelSpec, ScheduleSpec, TokenizerSpec
from trt_pipeline.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Description:
    """What a manifest says of a checkpoint."""

    model: ModelSpec
    defaults: Defaults
    schedule: ScheduleSpec
    tokenizer: TokenizerSpec | None
    min_latents: int
    """Smallest height and width of latents."""


@lru_cache(maxsize=8)
def describe(checkpoint: Checkpoint) -> Description:
    """What the configurations say; CheckpointError for what cannot be exported, or for parts that
    do not fit each other."""
    networks = empty_networks(checkpoint)
    _check_channels(checkpoint, networks)
    _check_context(checkpoint, networks)
    _check_guidance(checkpoint, networks)
    schedule, sampler = load_schedule(checkpoint)
    vocab_size = networks.text_encoder.vocab_size if networks.text_encoder else 0
    description = Description(
        model=_model(checkpoint, networks),
        defaults=_defaults(checkpoint, networks, sampler),
        schedule=schedule,
        tokenizer=describe_tokenizer(checkpoint, networks.tokens, vocab_size),
        min_latents=max(MIN_SIZE, networks.unet.min_size),
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
    )


def _defaults(checkpoint: Checkpoint, networks: Networks, sampler: str) -> Defaults:
    side, path = networks.unet.config["sample_size"], checkpoint.configs["unet"]
    pixels, family = side * networks.vae.pixels_per_latent, checkpoint.family
    entries = {
        "num_inference_steps": family.num_inference_steps,
        "guidance_scale": family.guidance_scale,
        "eta": family.eta,
        "height": pixels,
        "width": pixels,
        "sampler": sampler,
    }
    try:
        return decode(Defaults, entries, "it")
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


def _check_channels(checkpoint: Checkpoint, networks: Networks) -> None:
    config, latent = networks.unet.config, networks.vae.latent_channels
    joined = CONDITION_CHANNELS[checkpoint.family.condition]
    if not config["in_channels"] - joined == config["out_channels"] == latent:
        also = f" and the condition {joined}" if joined else ""
        raise CheckpointError(
            f"{checkpoint.path}: the UNet takes {config['in_channels']} and gives "
            f"{config['out_channels']} channels, but the VAE has {latent}{also}."
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
