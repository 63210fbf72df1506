"""Inputs and outputs of the graphs, as docs/reference/bundle-format.md specifies them."""

from collections.abc import Collection
from dataclasses import dataclass

from trt_pipeline.bundle.manifest import DType, Precision, TensorSpec

_OUTPUTS = {
    "text_encoder": ("context_kv",),
    "time_embedding": ("time_embeds",),
    "denoiser": ("next_latents", "next_history", "features"),
    "cached_denoiser": ("next_latents", "next_history"),
    "decoder": ("image",),
    "tiny_decoder": ("image",),
    "encoder": ("latents_mean", "latents_std"),
    "safety_checker": ("has_nsfw_concept", "concept_scores"),
}
COEFFICIENTS = 8
TIME_IDS = 6
"""Numbers in a row of time_ids: original height and width, the crop's top and left, and the
target's height and width."""


@dataclass(frozen=True, slots=True)
class Widths:
    """The sizes that depend on the model; 0 for an input that it lacks."""

    latent_channels: int
    condition_channels: int
    tokens: int
    """Of a prompt."""
    context: int
    """Numbers in a row of context_kv."""
    time_embeds: int
    """Numbers in a row."""
    features: int
    """Channels."""
    embeds_guidance: bool
    masks_images: bool
    """Whether the encoder leaves a part of a picture out."""
    text_embeds: int = 0
    """Numbers in a row: of a pair of text encoders."""


def graph_outputs(graph: str, inputs: Collection[str]) -> tuple[str, ...]:
    """Outputs of a graph in their order."""
    return (*_OUTPUTS[graph], *(("text_embeds",) if "input_ids_2" in inputs else ()))


def graph_inputs(widths: Widths, precision: Precision) -> dict[str, tuple[TensorSpec, ...]]:
    """Inputs of every graph in their order; an input that the model lacks is absent."""
    arithmetic: DType = "float16" if precision == "fp16" else "float32"
    size = ("latent_height", "latent_width")
    latents = TensorSpec("latents", "float32", ("batch", widths.latent_channels, *size))
    context = TensorSpec("context_kv", arithmetic, ("rows", widths.context))
    condition = TensorSpec("condition", "float32", ("rows", widths.condition_channels, *size))
    guidance_scale = TensorSpec("guidance_scale", "float32", ("steps",))
    added = (
        TensorSpec("text_embeds", "float32", ("steps", widths.text_embeds)),
        TensorSpec("time_ids", "float32", ("steps", TIME_IDS)),
    )
    input_ids = ("input_ids", "input_ids_2") if widths.text_embeds else ("input_ids",)
    step = (
        latents,
        TensorSpec("history", "float32", (3, *latents.shape)),
        *((context,) if widths.context else ()),
        TensorSpec("time_embeds", arithmetic, ("rows", widths.time_embeds)),
        *((condition,) if widths.condition_channels else ()),
        TensorSpec("rows", "int32", ("rows",)),
        TensorSpec("guidance", "float32", ("batch", "rows")),
        TensorSpec("coefficients", "float32", ("batch", COEFFICIENTS)),
        TensorSpec("noise", "float32", latents.shape),
    )
    pixels = ("batch", "height", "width")
    image, mask = TensorSpec("image", "uint8", (*pixels, 3)), TensorSpec("mask", "uint8", pixels)
    features = TensorSpec("features", arithmetic, ("rows", widths.features, *size))
    return {
        "text_encoder": tuple(
            TensorSpec(name, "int32", ("batch", widths.tokens)) for name in input_ids
        ),
        "time_embedding": (
            TensorSpec("timesteps", "float32", ("steps",)),
            *((guidance_scale,) if widths.embeds_guidance else ()),
            *(added if widths.text_embeds else ()),
        ),
        "denoiser": step,
        "cached_denoiser": (*step, features),
        "decoder": (latents,),
        "tiny_decoder": (latents,),
        "encoder": (image, *((mask,) if widths.masks_images else ())),
        "safety_checker": (image,),
    }
