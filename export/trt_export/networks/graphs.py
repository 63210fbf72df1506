"""A checkpoint's networks as the graphs of its bundle: their inputs, examples of them, and their
modules."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from trt_export.families import Family
from trt_export.networks.reference.random_inputs import random_inputs
from trt_export.networks.signatures import Widths, graph_inputs
from trt_export.networks.texts.context import ContextEncoder
from trt_export.networks.unets.denoisers import CachedDenoiser, Denoiser
from trt_export.networks.unets.time_embedding import TimeEmbedding
from trt_export.networks.unets.unet import context_sizes, downsamplers
from trt_export.networks.weights.loading import Networks
from trt_pipeline.bundle.manifest import Precision, TensorSpec

TRACED_SIZES = {"batch": 3, "rows": 5, "steps": 7, "latent_height": 8, "latent_width": 9}
CHECKED_SIZES = {"batch": 2, "rows": 4, "steps": 4, "latent_height": 6, "latent_width": 10}
"""Tracing must not fix what it saw, so graphs are checked at sizes they were not traced at. There
are as many steps as rows, since the rows' time_embeds are those of the steps. Latents of more than
two levels are larger: see traced_inputs and checked_inputs."""

STEPS = ("denoiser", "cached_denoiser")
"""Graphs with the levels of a UNet."""

Signatures = Mapping[str, tuple[TensorSpec, ...]]


def signatures(networks: Networks, family: Family, precision: Precision) -> Signatures:
    """The inputs of every graph of a bundle. The networks must be as loaded."""
    unet = networks.unet
    widths = Widths(
        latent_channels=networks.vae.latent_channels,
        condition_channels=family.condition_channels(networks.vae.latent_channels),
        tokens=networks.tokens,
        context=sum(context_sizes(unet.module, networks.tokens)),
        time_embeds=unet.time_width,
        features=unet.feature_channels,
        embeds_guidance=unet.guidance_width is not None,
        text_embeds=unet.pooled_width,
        masks_images=family.condition == "masked_image",
    )
    inputs = graph_inputs(widths, precision)
    return {name: inputs[name] for name in family.graphs}


def modules(networks: Networks, family: Family) -> Iterator[tuple[str, nn.Module]]:
    """Every graph's name and module; takes the networks apart."""
    if "text_encoder" in family.graphs:
        yield "text_encoder", ContextEncoder(networks.text.traceable(), networks.unet)
    yield "time_embedding", TimeEmbedding(networks.unet)
    denoiser = Denoiser(networks.unet, networks.tokens, networks.condition_factor)
    yield "denoiser", denoiser
    yield "cached_denoiser", CachedDenoiser(denoiser)
    yield "decoder", networks.vae.decoder()
    if "tiny_decoder" in family.graphs:
        yield "tiny_decoder", networks.tiny_decoder.decoder()
    if "encoder" in family.graphs:
        yield "encoder", networks.vae.encoder()
    if "safety_checker" in family.graphs:
        yield "safety_checker", networks.safety_checker.traceable()


def traced_inputs(
    networks: Networks, name: str, specs: tuple[TensorSpec, ...]
) -> Mapping[str, Tensor]:
    """Random inputs to trace a graph on. The smallest level of a UNet has 2 by 3 pixels at least:
    tracing takes a size of 1 for one that never changes."""
    unit = 2 ** len(downsamplers(networks.unet.module)) if name in STEPS else 1
    height = max(TRACED_SIZES["latent_height"], 2 * unit)
    width = max(TRACED_SIZES["latent_width"], 3 * unit + 1)
    sizes = _sizes(networks, name, {**TRACED_SIZES, **_latents(height, width)})
    return random_inputs(specs, sizes, _tokens(networks), seed=0)


def checked_inputs(networks: Networks, inputs: Signatures) -> dict[str, Mapping[str, Tensor]]:
    """Random inputs to compare every graph on."""
    return {
        name: random_inputs(specs, checked_sizes(networks, name), _tokens(networks), seed)
        for seed, (name, specs) in enumerate(inputs.items())
    }


def checked_sizes(networks: Networks, name: str) -> Mapping[str, int]:
    """Every dimension at which a graph is compared: one that diffusers can take."""
    unit = networks.unet.whole_size if name in STEPS else 1
    height, width = (
        -(-CHECKED_SIZES[side] // unit) * unit for side in ("latent_height", "latent_width")
    )
    width += unit if width == height else 0
    return _sizes(networks, name, {**CHECKED_SIZES, **_latents(height, width)})


def _sizes(networks: Networks, name: str, sizes: Mapping[str, int]) -> Mapping[str, int]:
    factor = networks.vae.pixels_per_latent
    pixels = {"height": sizes["latent_height"] * factor, "width": sizes["latent_width"] * factor}
    batch = sizes["rows"] if name == "text_encoder" else sizes["batch"]
    return {**sizes, **pixels, "batch": batch}


def _latents(height: int, width: int) -> Mapping[str, int]:
    return {"latent_height": height, "latent_width": width}


def _tokens(networks: Networks) -> int:
    return networks.text.vocab_size if networks.text else 0
