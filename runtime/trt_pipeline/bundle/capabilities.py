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
    "text_encoder": {"input_ids"},
    "time_embedding": {"timesteps", "guidance_scale"},
    "denoiser": STEP,
    "cached_denoiser": {*STEP, "features"},
    "decoder": {"latents"},
    "encoder": {"image"},
}
"""Graph → every input that this release can give it."""
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


def begins_with_pictures(bundle: Bundle) -> bool:
    """Whether an image can be what denoising begins with."""
    return "encoder" in bundle.graphs and not enlarges(bundle)


def check_graphs(bundle: Bundle) -> None:
    """BundleError for a graph input that this release does not know, or a part that is missing."""
    for graph, known in INPUTS.items():
        unknown = sorted(bundle.inputs(graph).keys() - known)
        if unknown:
            raise BundleError(
                f"{bundle.path}: this release does not know the input {unknown[0]!r:.80} of "
                f"{graph}. Use a newer release."
            )
    missing = [graph for graph in ALWAYS if graph not in bundle.graphs]
    if takes_prompts(bundle):
        missing += [] if "text_encoder" in bundle.graphs else ["text_encoder"]
        missing += [] if bundle.tokenizer else ["tokenizer"]
    if ("condition" in bundle.inputs("denoiser")) != (bundle.model.condition is not None):
        missing += ["condition"]
    if missing:
        raise BundleError(f"{bundle.path} lacks its {missing[0]}. Export the checkpoint again.")
