"""The shapes that engines take: TensorRT's optimization profiles."""

from collections.abc import Mapping

from trt_export.engines.options import EngineOptions
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import Defaults, Limits, ShapeRange, TensorSpec
from trt_pipeline.errors import InvalidInputError

OPT_STEPS = 50
OPT_BATCH = 1

Range = tuple[int, int, int]
"""Min, opt and max size of a dimension."""


def engine_profile(bundle: Bundle, graph: str, options: EngineOptions) -> dict[str, ShapeRange]:
    """The shapes of a graph's inputs; InvalidInputError for sizes outside the bundle's limits."""
    ranges = _ranges(bundle, options)
    return {name: _shapes(spec, ranges) for name, spec in bundle.inputs(graph).items()}


def pixel_ranges(
    defaults: Defaults, limits: Limits, factor: int, options: EngineOptions
) -> tuple[Range, Range]:
    """Heights and widths in pixels; InvalidInputError for those outside the limits.

    factor: pixels per latent.
    """
    heights, widths = (None, None) if options.static else (options.heights, options.widths)
    return (
        _pixels("heights", heights, defaults.height, limits.height, factor),
        _pixels("widths", widths, defaults.width, limits.width, factor),
    )


def rows_per_sample(bundle: Bundle) -> int:
    """Rows of the denoiser for a sample with guidance: with and without the prompt where the
    denoiser reads one, unless the guidance scale is embedded."""
    guided = "context_kv" in bundle.inputs("denoiser")
    return 2 if guided and "guidance_scale" not in bundle.inputs("time_embedding") else 1


def _ranges(bundle: Bundle, options: EngineOptions) -> dict[str, Range]:
    """Sizes of every dimension that varies."""
    max_batch = OPT_BATCH if options.static else bundle.limits.batch[1]
    rows, factor = rows_per_sample(bundle), bundle.model.vae_scale_factor
    steps = len(bundle.schedule.alphas_cumprod)
    height, width = pixel_ranges(bundle.defaults, bundle.limits, factor, options)
    return {
        "batch": (1, OPT_BATCH, max_batch),
        "rows": (rows if options.static else 1, rows * OPT_BATCH, rows * max_batch),
        "steps": (1, min(OPT_STEPS, steps), steps),
        "height": height,
        "width": width,
        "latent_height": _divided(height, factor),
        "latent_width": _divided(width, factor),
    }


def _shapes(spec: TensorSpec, ranges: Mapping[str, Range]) -> ShapeRange:
    low, opt, high = (
        tuple(dim if isinstance(dim, int) else ranges[dim][end] for dim in spec.shape)
        for end in range(3)
    )
    return ShapeRange(low, opt, high)


def _pixels(
    name: str, chosen: tuple[int, int] | None, native: int, limits: tuple[int, int], factor: int
) -> Range:
    if chosen is None:
        return (native, native, native)
    low, high = chosen
    if not limits[0] <= low <= high <= limits[1] or low % factor or high % factor:
        raise InvalidInputError(
            f"--{name} {low}:{high}: must be multiples of {factor} within this bundle's "
            f"{limits[0]}..{limits[1]} pixels."
        )
    return (low, min(max(native, low), high), high)


def _divided(pixels: Range, factor: int) -> Range:
    low, opt, high = pixels
    return (low // factor, opt // factor, high // factor)
