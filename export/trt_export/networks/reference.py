"""What diffusers' own modules answer to random inputs: the measure of every exported graph."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trt_export.networks.unets import UNet, cross_attentions, time_embeds_of
from trt_export.networks.weights import Networks

Tensors = Mapping[str, Tensor]


def reference_outputs(networks: Networks, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """Graph name → its expected outputs.

    inputs holds every graph's random inputs, with as many timesteps and texts as the denoiser has
    rows. The denoisers' context_kv and time_embeds are not read: the untouched UNet computes the
    expected noise from the texts and the timesteps behind them.
    The networks must be as loaded: denoisers.Denoiser takes the UNet apart.
    """
    with torch.inference_mode():
        context = text_context(networks, inputs)
        return unet_answers(networks, inputs, context) | vae_answers(networks, inputs)


def text_context(networks: Networks, inputs: Mapping[str, Tensors]) -> Tensor | None:
    """What the text encoder makes of the texts [rows, tokens, width]; None without one."""
    if "text_encoder" not in inputs:
        return None
    context: Tensor = networks.text_encoder.context(inputs["text_encoder"]["input_ids"])
    return context


def unet_answers(
    networks: Networks, inputs: Mapping[str, Tensors], context: Tensor | None
) -> dict[str, Tensors]:
    """The expected outputs of the graphs that have layers of the UNet."""
    time, answers = inputs["time_embedding"], {}
    if context is not None:
        answers["text_encoder"] = {"context_kv": _context_kv(networks, context)}
    embeds = time_embeds_of(networks.unet, time["timesteps"], time.get("guidance_scale"))
    answers["time_embedding"] = {"time_embeds": embeds}
    return answers | _steps(networks, inputs, context)


def vae_answers(networks: Networks, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """The expected outputs of the first stage's graphs."""
    answers: dict[str, Tensors] = {}
    answers["decoder"] = {"image": networks.vae.decode(inputs["decoder"]["latents"])}
    if "encoder" in inputs:
        answers["encoder"] = networks.vae.encoder_outputs(**inputs["encoder"])
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
    time, given = inputs["time_embedding"], [step["latents"][step["rows"].long()]]
    if "condition" in step:
        given.append(step["condition"] / networks.condition_factor)
    output = networks.unet.predict(
        torch.cat(given, dim=1),
        time["timesteps"],
        context,
        time.get("guidance_scale"),
    )
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
