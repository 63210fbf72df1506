"""What diffusers' own modules answer to random inputs: the measure of every exported graph."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trt_export.networks.denoisers import feature_channels
from trt_export.networks.graphs import cross_attentions, resnet_blocks
from trt_export.networks.modules import Modules

Tensors = Mapping[str, Tensor]


def reference_outputs(modules: Modules, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """Graph name → its expected outputs.

    inputs holds every graph's random inputs; the denoisers' text_kv and time_embeds are replaced,
    in place of random numbers, by what text_encoder and time_embedding should give, so that the
    untouched UNet can compute the expected noise from the text and the timesteps behind them.
    The modules must be as loaded: denoisers.Denoiser takes the UNet apart.
    """
    timesteps = inputs["time_embedding"]["timesteps"]
    with torch.inference_mode():
        return {
            "text_encoder": {"text_kv": _text_kv(modules, inputs["text_encoder"]["input_ids"])},
            "time_embedding": {"time_embeds": time_embeds_of(modules.unet, timesteps)},
            **both_steps(modules.unet, partial(_predict, modules, inputs), inputs),
            "decoder": {"image": _decode(modules, inputs["decoder"]["latents"])},
            "encoder": _encode(modules, inputs["encoder"]["image"]),
        }


def _text_kv(modules: Modules, input_ids: Tensor) -> Tensor:
    context = modules.bert(input_ids.long(), return_dict=False)[0]
    layers = cross_attentions(modules.unet)
    return torch.cat([p(context).flatten(1) for a in layers for p in (a.to_k, a.to_v)], dim=-1)


def time_embeds_of(unet: Any, timesteps: Tensor) -> Tensor:
    """Every ResNet block's projection of the timesteps [N], side by side."""
    embedding = unet.time_embedding(unet.time_proj(timesteps))
    blocks = resnet_blocks(unet)
    activated = [b if b.skip_time_act else b.nonlinearity for b in blocks]
    return torch.cat(
        [
            block.time_emb_proj(embedding if activation is block else activation(embedding))
            for block, activation in zip(blocks, activated, strict=True)
        ],
        dim=-1,
    )


def _predict(modules: Modules, inputs: Mapping[str, Tensors], step: Tensors) -> Tensor:
    """The noise that the UNet predicts for a step's latents, mixed by its guidance."""
    rows = step["rows"].long()
    context = modules.bert(inputs["text_encoder"]["input_ids"].long(), return_dict=False)[0]
    timesteps = inputs["time_embedding"]["timesteps"]
    output = modules.unet(step["latents"][rows], timesteps[rows], context).sample
    return torch.einsum("bm,mchw->bchw", step["guidance"], output)


def both_steps(
    unet: Any, predict: Callable[[Tensors], Tensor], inputs: Mapping[str, Tensors]
) -> dict[str, Tensors]:
    """What denoiser and cached_denoiser should answer; the latter sees the former's features.

    predict: runs the untouched UNet on a step's inputs.
    """
    full, cached = inputs["denoiser"], inputs["cached_denoiser"]
    with _features(unet, None) as seen:
        answer = sampler_step(full, predict(full))
    with _features(unet, seen[0]):
        cached_answer = sampler_step(cached, predict(cached))
    return {"denoiser": {**answer, "features": seen[0]}, "cached_denoiser": cached_answer}


@contextmanager
def _features(unet: Any, given: Tensor | None) -> Iterator[list[Tensor]]:
    """Note what the last layer sees of the layers before it, and put what is given in its place."""
    seen: list[Tensor] = []
    own = feature_channels(unet)

    def exchange(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        sample, *others = arguments
        seen.append(sample[:, :own])
        features = seen[-1] if given is None else given
        return (torch.cat([features, sample[:, own:]], dim=1), *others)

    handle = unet.up_blocks[-1].resnets[-1].register_forward_pre_hook(exchange)
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


def _decode(modules: Modules, latents: Tensor) -> Tensor:
    vae = modules.vqvae
    return to_pixels(vae.decode(latents / vae.config.scaling_factor).sample)


def to_pixels(image: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] of a decoded picture [B, 3, H, W] in -1..1."""
    return ((image / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).to(torch.uint8)


def _encode(modules: Modules, image: Tensor) -> Tensors:
    vae = modules.vqvae
    pixels = image.permute(0, 3, 1, 2).float() / 255 * 2 - 1
    posterior = vae.encode(pixels).latent_dist
    scale = vae.config.scaling_factor
    return {"latents_mean": posterior.mean * scale, "latents_std": posterior.std * scale}
