"""What a checkpoint's configurations say of it, as the entries of a manifest; no weight is read."""

import inspect
from pathlib import Path
from typing import Any, TypeVar

from diffusers import DDIMScheduler
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig

from trt_export.checkpoint import PIPELINE, Checkpoint
from trt_export.modules import build_empty
from trt_export.signatures import TEXT_TOKENS
from trt_pipeline.decoding import decode
from trt_pipeline.errors import BundleError, CheckpointError
from trt_pipeline.manifest import ModelSpec, ScheduleSpec, TokenizerSpec
from trt_pipeline.tokenizer import read_vocabulary

VOCAB = "tokenizer/vocab.txt"
"""Where a bundle has its vocabulary."""

Spec = TypeVar("Spec", ModelSpec, ScheduleSpec, TokenizerSpec)


def describe_model(checkpoint: Checkpoint) -> ModelSpec:
    """What the configurations say, read without weights; CheckpointError if they clash."""
    unet = build_empty(checkpoint, "unet").config
    vae = build_empty(checkpoint, "vqvae").config
    if not unet.in_channels == unet.out_channels == vae.latent_channels:
        raise CheckpointError(
            f"{checkpoint.path}: the UNet takes {unet.in_channels} and gives {unet.out_channels} "
            f"channels, but the VAE has {vae.latent_channels}."
        )
    width = checkpoint.config("bert").get("d_model", LDMBertConfig().d_model)
    if unet.cross_attention_dim != width:
        raise CheckpointError(
            f"{checkpoint.path}: the UNet reads text of width {unet.cross_attention_dim}, but the "
            f"text encoder gives width {width}."
        )
    if not isinstance(unet.sample_size, int):
        raise CheckpointError(
            f"{checkpoint.configs['unet']}: sample_size is {unet.sample_size!r}; "
            "only a whole number is exported."
        )
    factor = 2 ** (len(vae.block_out_channels) - 1)
    entries = {
        "name": checkpoint.name,
        "pipeline": PIPELINE,
        "latent_channels": vae.latent_channels,
        "vae_scale_factor": factor,
        "height": unet.sample_size * factor,
        "width": unet.sample_size * factor,
        "scaling_factor": vae.scaling_factor,
    }
    return _checked(ModelSpec, entries, checkpoint.configs["vqvae"])


def load_schedule(checkpoint: Checkpoint) -> ScheduleSpec:
    """The schedule as published; CheckpointError for one whose step is not linear."""
    path = checkpoint.configs["scheduler"]
    try:
        scheduler = DDIMScheduler.from_config(_known(DDIMScheduler, checkpoint, "scheduler"))
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path}: DDIMScheduler refuses it: {error}.") from None
    config = scheduler.config
    for setting in ("clip_sample", "thresholding"):
        if config[setting]:
            raise CheckpointError(
                f"{path}: {setting} is on; only schedules without it are exported."
            )
    entries = {name: config[name] for name in ("prediction_type", "steps_offset")}
    entries |= {name: config[name] for name in ("set_alpha_to_one", "timestep_spacing")}
    entries["alphas_cumprod"] = scheduler.alphas_cumprod.tolist()
    return _checked(ScheduleSpec, entries, path)


def describe_tokenizer(checkpoint: Checkpoint) -> TokenizerSpec:
    """How to tokenize; CheckpointError if the vocabulary cannot serve this text encoder."""
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


def _known(model: Any, checkpoint: Checkpoint, component: str) -> dict[str, Any]:
    """The settings that a class of today knows: old configurations hold others, since dropped."""
    known = inspect.signature(model.__init__).parameters
    config = checkpoint.config(component)
    return {name: value for name, value in config.items() if name in known}
