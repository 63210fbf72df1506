"""Capabilities: what a bundle can do, which follows from the inputs of its graphs."""

from collections.abc import Mapping

from trt_pipeline.bundle import Bundle
from trt_pipeline.errors import BundleError

STEP = {
    "latents",
    "history",
    "context_kv",
    "time_embeds",
    "condition",
    "rows",
    "guidance",
    "coefficients",
    "noise",
}
INPUTS: Mapping[str, set[str]] = {
    "text_encoder": {"input_ids", "input_ids_2"},
    "time_embedding": {"timesteps", "guidance_scale", "text_embeds", "time_ids"},
    "denoiser": STEP,
    "cached_denoiser": {*STEP, "features"},
    "decoder": {"latents"},
    "tiny_decoder": {"latents"},
    "encoder": {"image", "mask"},
    "safety_checker": {"image"},
}
"""Graph → every input that this release can give it; likewise its outputs."""
OUTPUTS: Mapping[str, set[str]] = {
    "text_encoder": {"context_kv", "text_embeds"},
    "time_embedding": {"time_embeds"},
    "denoiser": {"next_latents", "next_history", "features"},
    "cached_denoiser": {"next_latents", "next_history"},
    "decoder": {"image"},
    "tiny_decoder": {"image"},
    "encoder": {"latents_mean", "latents_std"},
    "safety_checker": {"has_nsfw_concept", "concept_scores"},
}
OPTIONAL_INPUTS = {
    "context_kv",
    "condition",
    "guidance_scale",
    "input_ids_2",
    "mask",
    "text_embeds",
    "time_ids",
}
"""Those that a family may lack."""
ALWAYS = ("time_embedding", "denoiser", "decoder")
"""Graphs that every bundle has."""


def takes_prompts(bundle: Bundle) -> bool:
    """Whether the denoiser reads a context, which a prompt makes."""
    return "context_kv" in bundle.inputs("denoiser")


def embeds_guidance(bundle: Bundle) -> bool:
    """Whether the guidance scale joins the time embedding, as in LCM, arXiv:2310.04378."""
    return "guidance_scale" in bundle.inputs("time_embedding")


def enlarges(bundle: Bundle) -> bool:
    """Whether the denoiser sees a picture of low resolution, which it enlarges."""
    return bundle.model.condition == "low_resolution"


def changes_images(bundle: Bundle) -> bool:
    """Whether the denoiser sees an image that it changes, as InstructPix2Pix (arXiv:2211.09800)."""
    return bundle.model.condition == "image"


def sees_masks(bundle: Bundle) -> bool:
    """Whether the denoiser sees which part of an image it paints again, and the rest of it."""
    return bundle.model.condition == "masked_image"


def begins_with_pictures(bundle: Bundle) -> bool:
    """Whether an image can be what denoising begins with."""
    return "encoder" in bundle.graphs and bundle.model.condition in (None, "masked_image")


def sees_sizes(bundle: Bundle) -> bool:
    """Whether the pooled text and sizes join the time embedding, as in Stable Diffusion XL."""
    return "time_ids" in bundle.inputs("time_embedding")


def needs_images(bundle: Bundle) -> bool:
    """Whether no picture can be made without one that is given."""
    return enlarges(bundle) or changes_images(bundle) or sees_masks(bundle)


def check_graphs(bundle: Bundle) -> None:
    """BundleError for a graph, or a graph's input or output, that this release does not know or
    that is missing."""
    for graph, forms in bundle.graphs.items():
        if graph not in INPUTS:
            raise BundleError(
                f"{bundle.path}: this release does not know the graph {graph!r:.80}. "
                "Use a newer release."
            )
        for form in forms.values():
            _check_names(bundle, graph, "input", [spec.name for spec in form.inputs])
            _check_names(bundle, graph, "output", [spec.name for spec in form.outputs])
    missing = [graph for graph in ALWAYS if graph not in bundle.graphs]
    if takes_prompts(bundle):
        missing += [] if "text_encoder" in bundle.graphs else ["text_encoder"]
        missing += [] if bundle.tokenizer else ["tokenizer"]
    missing += _missing_of_pair(bundle)
    if ("condition" in bundle.inputs("denoiser")) != (bundle.model.condition is not None):
        missing += ["condition"]
    if changes_images(bundle) or sees_masks(bundle):
        missing += [] if "encoder" in bundle.graphs else ["encoder"]
    if "encoder" in bundle.graphs and ("mask" in bundle.inputs("encoder")) != sees_masks(bundle):
        missing += ["mask"]
    if missing:
        raise BundleError(f"{bundle.path} lacks its {missing[0]}. Export the checkpoint again.")


def _missing_of_pair(bundle: Bundle) -> list[str]:
    """What a model with two text encoders needs, of which the pooled text is the second's."""
    texts, times = bundle.inputs("text_encoder"), bundle.inputs("time_embedding")
    missing = ["tokenizer_2"] if "input_ids_2" in texts and not bundle.tokenizer_2 else []
    if ("text_embeds" in times) != ("time_ids" in times):
        missing += ["text_embeds" if "time_ids" in times else "time_ids"]
    outputs = bundle.outputs("text_encoder")
    missing += ["text_embeds"] if "text_embeds" in times and "text_embeds" not in outputs else []
    return missing


def _check_names(bundle: Bundle, graph: str, kind: str, names: list[str]) -> None:
    """BundleError unless a graph's inputs or outputs are known, there, and named once each."""
    if kind == "input":
        known, optional = INPUTS[graph], OPTIONAL_INPUTS
    else:
        known = OUTPUTS[graph]
        optional = (
            {"text_embeds"} if "cached_denoiser" in bundle.graphs else {"text_embeds", "features"}
        )
    unknown = [name for name in names if name not in known]
    missing = sorted(known - optional - {*names})
    if unknown:
        raise BundleError(
            f"{bundle.path}: this release does not know the {kind} {unknown[0]!r:.80} of "
            f"{graph}. Use a newer release."
        )
    if missing or len({*names}) < len(names):
        problem = f"lacks the {kind} {missing[0]}" if missing else f"names an {kind} twice"
        raise BundleError(f"{bundle.path}: {graph} {problem}. Export the checkpoint again.")
