"""What a checkpoint's configurations say of it, as the entries of a manifest; no weight is read."""

from pathlib import Path
from typing import Any, TypeVar

from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig

from trt_export.checkpoint.config_bounds import check_bounds
from trt_export.checkpoint.folder import TEXT_TO_IMAGE, Checkpoint
from trt_export.checkpoint.schedulers import choose_sampler, complete_settings, training_alphas
from trt_export.networks.modules import build_empty
from trt_export.networks.signatures import TEXT_TOKENS
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import ModelSpec, ScheduleSpec, TokenizerSpec
from trt_pipeline.errors import BundleError, CheckpointError
from trt_pipeline.pipelines.tokenizer import read_vocabulary

SUPER_RESOLUTION = "LDMSuperResolutionPipeline"
VOCAB = "tokenizer/vocab.txt"
"""Where a bundle has its vocabulary."""
SCHEDULE_SETTINGS = ("prediction_type", "steps_offset", "timestep_spacing")
"""What every scheduler has, and a manifest under the same names."""

Spec = TypeVar("Spec", ModelSpec, ScheduleSpec, TokenizerSpec)


def describe_model(checkpoint: Checkpoint) -> ModelSpec:
    """What the configurations say, read without weights; CheckpointError if they clash."""
    unet = build_empty(checkpoint, "unet").config
    vae = build_empty(checkpoint, "vqvae").config
    image = vae.latent_channels if checkpoint.pipeline == SUPER_RESOLUTION else 0
    if not unet.in_channels - image == unet.out_channels == vae.latent_channels:
        raise CheckpointError(
            f"{checkpoint.path}: the UNet takes {unet.in_channels} and gives {unet.out_channels} "
            f"channels, but the VAE has {vae.latent_channels}."
        )
    if checkpoint.pipeline == TEXT_TO_IMAGE:
        _check_text_width(checkpoint, unet.cross_attention_dim)
    if not isinstance(unet.sample_size, int):
        raise CheckpointError(
            f"{checkpoint.configs['unet']}: sample_size is {unet.sample_size!r}; "
            "only a whole number is exported."
        )
    factor = 2 ** (len(vae.block_out_channels) - 1)
    quantizing = checkpoint.class_of("vqvae") == "VQModel"  # which knows no scaling
    entries = {
        "name": checkpoint.name,
        "pipeline": checkpoint.pipeline,
        "latent_channels": vae.latent_channels,
        "vae_scale_factor": factor,
        "height": unet.sample_size * factor,
        "width": unet.sample_size * factor,
        "scaling_factor": 1.0 if quantizing else vae.scaling_factor,
    }
    return _checked(ModelSpec, entries, checkpoint.configs["vqvae"])


def _check_text_width(checkpoint: Checkpoint, read: int) -> None:
    width = checkpoint.config("bert").get("d_model", LDMBertConfig().d_model)
    if read != width:
        raise CheckpointError(
            f"{checkpoint.path}: the UNet reads text of width {read}, but the text encoder gives "
            f"width {width}."
        )


def load_schedule(checkpoint: Checkpoint) -> ScheduleSpec:
    """The schedule as published, with the sampler that follows its scheduler; CheckpointError for
    a setting that the sampler would not honour."""
    path, scheduler = checkpoint.configs["scheduler"], checkpoint.scheduler
    config = checkpoint.config("scheduler")
    try:
        check_bounds(config)
        sampler = choose_sampler(scheduler, config)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}.") from None
    try:
        alphas_cumprod = training_alphas(scheduler, config)
    except ImportError:
        raise CheckpointError(f"{path}: a {scheduler} needs SciPy: pip install scipy") from None
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: {scheduler} refuses it: {reason:.200}.") from None
    settings = complete_settings(scheduler, config)
    entries = {name: settings[name] for name in SCHEDULE_SETTINGS}
    # DDIMScheduler.from_config takes True from a scheduler without this setting.
    entries["set_alpha_to_one"] = settings.get("set_alpha_to_one", True)
    entries |= {"alphas_cumprod": alphas_cumprod, "sampler": sampler}
    return _checked(ScheduleSpec, entries, path)


def describe_tokenizer(checkpoint: Checkpoint) -> TokenizerSpec | None:
    """How to tokenize; CheckpointError if the vocabulary cannot serve this text encoder."""
    if checkpoint.vocab is None:
        return None
    config = checkpoint.config("tokenizer")
    entries = {
        "vocab": VOCAB,
        "max_length": TEXT_TOKENS,
        "lowercase": config.get("do_lower_case", True),
        "strip_accents": config.get("strip_accents"),
        "tokenize_chinese_chars": config.get("tokenize_chinese_chars", True),
    }
    try:
        tokens = len(read_vocabulary(checkpoint.vocab))
    except BundleError as error:
        raise CheckpointError(str(error)) from None
    known = build_empty(checkpoint, "bert").config.vocab_size
    if tokens > known:
        raise CheckpointError(
            f"{checkpoint.vocab} has {tokens} tokens, but the text encoder knows {known}."
        )
    return _checked(TokenizerSpec, entries, checkpoint.configs["tokenizer"])


def _checked(kind: type[Spec], entries: dict[str, Any], path: Path) -> Spec:
    """A part of the manifest from what a configuration says."""
    try:
        return decode(kind, entries, "it")
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None
