"""What diffusers' own modules answer to random inputs: the measure of every exported graph."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trt_export.networks.unets.unet import UNet, cross_attentions, time_embeds_of
from trt_export.networks.weights.loading import Networks

Tensors = Mapping[str, Tensor]


def reference_outputs(networks: Networks, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """Graph name → its expected outputs.

    inputs holds every graph's random inputs, with as many timesteps and texts as the denoiser has
    rows. The denoisers' context_kv and time_embeds are not read: the untouched UNet computes the
    expected noise from the texts and the timesteps behind them.
    The networks must be as loaded: denoisers.Denoiser takes the UNet apart.
    """
    with torch.inference_mode():
        text = text_answers(networks, inputs)
        answers = unet_answers(networks, inputs, text) | vae_answers(networks, inputs)
        return answers | added_answers(networks, inputs)


def text_answers(networks: Networks, inputs: Mapping[str, Tensors]) -> Tensors:
    """What becomes of the texts: context [rows, tokens, width], and text_embeds of a pair of
    encoders; nothing without an encoder."""
    if "text_encoder" not in inputs:
        return {}
    input_ids = inputs["text_encoder"]["input_ids"]
    if networks.text_encoder_2 is None:
        return {"context": networks.text_encoder.context(input_ids)}
    pair: Tensors = networks.text.answers(input_ids, inputs["text_encoder"]["input_ids_2"])
    return pair


def unet_answers(
    networks: Networks, inputs: Mapping[str, Tensors], text: Tensors
) -> dict[str, Tensors]:
    """The expected outputs of the graphs that have layers of the UNet. text: what text_answers
    gave."""
    answers: dict[str, Tensors] = {}
    context = text.get("context")
    if context is not None:
        others = {name: tensor for name, tensor in text.items() if name != "context"}
        answers["text_encoder"] = {"context_kv": _context_kv(networks, context), **others}
    embeds = time_embeds_of(networks.unet, inputs["time_embedding"])
    answers["time_embedding"] = {"time_embeds": embeds}
    return answers | _steps(networks, inputs, context)


def vae_answers(networks: Networks, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """The expected outputs of the first stage's graphs."""
    answers: dict[str, Tensors] = {}
    answers["decoder"] = {"image": networks.vae.decode(inputs["decoder"]["latents"])}
    if "encoder" in inputs:
        answers["encoder"] = networks.vae.encoder_outputs(**inputs["encoder"])
    return answers


def added_answers(networks: Networks, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """The expected outputs of the graphs that a bundle has on request."""
    answers: dict[str, Tensors] = {}
    if "tiny_decoder" in inputs:
        latents = inputs["tiny_decoder"]["latents"]
        answers["tiny_decoder"] = {"image": networks.tiny_decoder.decode(latents)}
    if "safety_checker" in inputs:
        image = inputs["safety_checker"]["image"]
        answers["safety_checker"] = networks.safety_checker.answers(image)
    return answers


def _context_kv(networks: Networks, context: Tensor) -> Tensor:
    layers = cross_attentions(networks.unet.module)
    return torch.cat([p(context).flatten(1) for a in layers for p in (a.to_k, a.to_v)], dim=-1)


def _steps(
    networks: Networks, inputs: Mapping[str, Tensors], context: Tensor | None
) -> dict[str, Tensors]:
    """What denoiser and cached_denoiser should answer; the latter sees the former's features."""
    full, cached = inputs["denoiser"], inputs["cached_denoiser"]
    predict: Callable[[Tensors], Tensor] = partial(_predict, networks, inputs, context)
    with _features(networks.unet, None) as seen:
        answer = sampler_step(full, predict(full))
    with _features(networks.unet, seen[0]):
        cached_answer = sampler_step(cached, predict(cached))
    return {"denoiser": {**answer, "features": seen[0]}, "cached_denoiser": cached_answer}


def _predict(
    networks: Networks, inputs: Mapping[str, Tensors], context: Tensor | None, step: Tensors
) -> Tensor:
    """The noise that the UNet predicts for a step's latents, mixed by its guidance."""
    given = [step["latents"][step["rows"].long()]]
    if "condition" in step:
        given.append(step["condition"] / networks.condition_factor)
    output = networks.unet.predict(torch.cat(given, dim=1), inputs["time_embedding"], context)
    return torch.einsum("bm,mchw->bchw", step["guidance"], output)


@contextmanager
def _features(unet: UNet, given: Tensor | None) -> Iterator[list[Tensor]]:
    """Note what the last layer sees of the layers before it, and put what is given in its place."""
    seen: list[Tensor] = []
    channels = unet.feature_channels

    def exchange(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        sample, *others = arguments
        seen.append(sample[:, :channels])
        features = seen[-1] if given is None else given
        return (torch.cat([features, sample[:, channels:]], dim=1), *others)

    handle = unet.module.up_blocks[-1].resnets[-1].register_forward_pre_hook(exchange)
    try:
        yield seen
    finally:
        handle.remove()


def sampler_step(step: Tensors, output: Tensor) -> Tensors:
    """What the denoiser's inputs and the model's output make of the latents."""
    p, q, a, b0, b1, b2, b3, s = step["coefficients"].T[..., None, None, None]
    m0 = p * step["latents"] + q * output
    m1, m2, m3 = step["history"]
    update = a * step["latents"] + b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3 + s * step["noise"]
    return {"next_latents": update, "next_history": torch.stack([m0, m1, m2])}
