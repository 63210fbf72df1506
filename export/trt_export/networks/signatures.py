"""Inputs and outputs of the graphs."""

from trt_pipeline.bundle.manifest import DType, Precision, TensorSpec

OUTPUTS = {
    "text_encoder": ("text_kv",),
    "time_embedding": ("time_embeds",),
    "denoiser": ("next_latents", "next_history", "features"),
    "cached_denoiser": ("next_latents", "next_history"),
    "decoder": ("image",),
    "encoder": ("latents_mean", "latents_std"),
}
TEXT_TOKENS = 77
COEFFICIENTS = 8


def graph_inputs(
    latent_channels: int, text_kv: int, time_embeds: int, features: int, precision: Precision
) -> dict[str, tuple[TensorSpec, ...]]:
    """Inputs of every graph. text_kv, time_embeds and features are the widths of those tensors."""
    arithmetic: DType = "float16" if precision == "fp16" else "float32"
    latents = ("batch", latent_channels, "latent_height", "latent_width")
    step = (
        TensorSpec("latents", "float32", latents),
        TensorSpec("history", "float32", (3, *latents)),
        TensorSpec("text_kv", arithmetic, ("rows", text_kv)),
        TensorSpec("time_embeds", arithmetic, ("batch", time_embeds)),
        TensorSpec("rows", "int32", ("rows",)),
        TensorSpec("guidance", "float32", ("batch", "rows")),
        TensorSpec("coefficients", "float32", ("batch", COEFFICIENTS)),
        TensorSpec("noise", "float32", latents),
    )
    cached = TensorSpec("features", arithmetic, ("rows", features, *latents[2:]))
    return {
        "text_encoder": (TensorSpec("input_ids", "int32", ("batch", TEXT_TOKENS)),),
        "time_embedding": (TensorSpec("timesteps", "float32", ("steps",)),),
        "denoiser": step,
        "cached_denoiser": (*step, cached),
        "decoder": (TensorSpec("latents", "float32", latents),),
        "encoder": (TensorSpec("image", "uint8", ("batch", "height", "width", 3)),),
    }


def textless_inputs(
    latent_channels: int, image_channels: int, time_embeds: int, features: int, precision: Precision
) -> dict[str, tuple[TensorSpec, ...]]:
    """Inputs of the graphs without text; image_channels are low_resolution's, or 0."""
    arithmetic: DType = "float16" if precision == "fp16" else "float32"
    latents = ("batch", latent_channels, "latent_height", "latent_width")
    image = ("batch", image_channels, "latent_height", "latent_width")
    given = (TensorSpec("low_resolution", "float32", image),) if image_channels else ()
    step = (
        TensorSpec("latents", "float32", latents),
        TensorSpec("history", "float32", (3, *latents)),
        TensorSpec("time_embeds", arithmetic, ("batch", time_embeds)),
        TensorSpec("coefficients", "float32", ("batch", COEFFICIENTS)),
        TensorSpec("noise", "float32", latents),
    )
    cached = TensorSpec("features", arithmetic, ("batch", features, *latents[2:]))
    return {
        "time_embedding": (TensorSpec("timesteps", "float32", ("steps",)),),
        "denoiser": (*step, *given),
        "cached_denoiser": (*step, cached, *given),
        "decoder": (TensorSpec("latents", "float32", latents),),
    }
