"""From a checkpoint's networks to traced graphs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from trt_export.checkpoint.folder import Checkpoint
from trt_export.networks.context import ContextEncoder
from trt_export.networks.denoisers import CachedDenoiser, Denoiser
from trt_export.networks.description import condition_channels
from trt_export.networks.float16_range import beyond_half, check_finite, watched
from trt_export.networks.precision import store_half
from trt_export.networks.preview import fit_preview
from trt_export.networks.random_inputs import random_inputs
from trt_export.networks.reference import reference_outputs
from trt_export.networks.reference_pipeline import Drawing, draw
from trt_export.networks.signatures import Widths, graph_inputs
from trt_export.networks.time_embedding import TimeEmbedding
from trt_export.networks.unets import context_sizes
from trt_export.networks.weights import Networks, load_networks
from trt_export.onnx_graphs import to_onnx
from trt_pipeline.bundle.manifest import Precision, TensorSpec

TRACED_SIZES = {"batch": 3, "rows": 5, "steps": 7, "latent_height": 8, "latent_width": 9}
CHECKED_SIZES = {"batch": 2, "rows": 4, "steps": 4, "latent_height": 6, "latent_width": 10}
"""Tracing must not fix what it saw, so graphs are checked at sizes they were not traced at. There
are as many steps as rows, since the rows' time_embeds are those of the steps."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Reference:
    """What the untouched networks answer: what a bundle is compared with."""

    graphs: Mapping[str, tuple[Tensors, Tensors]]
    """Graph → random inputs, and the outputs expected of them."""
    drawing: Drawing | None
    """Finished pictures, where the family has a reference for them."""


@dataclass
class Tracing:
    """A checkpoint's networks on their way to graphs, loaded when first used. First reference(), on
    the networks as loaded; then trace(), which takes them apart."""

    checkpoint: Checkpoint
    precision: Precision
    wide: Mapping[str, str] = field(default_factory=dict)
    """Graph of the VAE that stays float32 in a float16 bundle → why; reference() finds them."""

    @cached_property
    def networks(self) -> Networks:
        return load_networks(self.checkpoint, self.precision, self.wide)

    def reference(self) -> Reference:
        """Answers of the networks as they will be stored.

        CheckpointError for numbers that are not finite, or beyond float16 where a bundle needs it.
        """
        path = self.checkpoint.path
        with watched(self.networks) as largest:
            reference = Reference(self._answers(), draw(self.checkpoint, self.networks))
        check_finite(largest, path)
        if self.precision == "fp32":
            return reference
        known = self.networks.wide
        self.wide = {**beyond_half(largest, path), **known}
        if self.wide.keys() == known.keys():
            return reference
        self.release()  # it was answered with rounded weights
        return Reference(self._answers(), draw(self.checkpoint, self.networks))

    def _answers(self) -> dict[str, tuple[Tensors, Tensors]]:
        inputs: dict[str, Tensors] = {
            name: self._random_inputs(name, specs, CHECKED_SIZES, seed)
            for seed, (name, specs) in enumerate(self._inputs("fp32").items())
        }
        outputs = reference_outputs(self.networks, inputs)
        flowing = {name: t for answers in outputs.values() for name, t in answers.items()}
        for step in ("denoiser", "cached_denoiser"):
            inputs[step] = {name: flowing.get(name, t) for name, t in inputs[step].items()}
        return {name: (inputs[name], outputs[name]) for name in inputs}

    def preview(self) -> list[list[float]]:
        """The linear map from latents to colours that fits smooth random pictures best."""
        vae = self.networks.vae
        return fit_preview(vae.encode, vae.pixels_per_latent)

    def trace(self, name: str, bundle: Path) -> None:
        """Write one graph's ONNX files into a bundle."""
        specs = self._signatures[name]
        example = self._random_inputs(name, specs, TRACED_SIZES, seed=0)
        to_onnx.save(name, to_onnx.trace(name, self._graphs[name], specs, example), bundle)

    def release(self) -> None:
        """Give the memory of networks and graphs back."""
        for loaded in ("networks", "_graphs"):
            self.__dict__.pop(loaded, None)

    @cached_property
    def _graphs(self) -> dict[str, nn.Module]:
        """The graphs' modules; takes the networks apart."""
        _ = self._signatures  # their widths are read off the layers that the graphs remove
        found = dict(self._make_graphs())
        if self.precision == "fp16":
            for name, module in found.items():
                if name not in self.networks.wide:
                    store_half(module)
        return found

    def _make_graphs(self) -> Iterator[tuple[str, nn.Module]]:
        networks, graphs = self.networks, self.checkpoint.family.graphs
        if "text_encoder" in graphs:
            encoder = networks.text_encoder.traceable()
            yield "text_encoder", ContextEncoder(encoder, networks.unet)
        yield "time_embedding", TimeEmbedding(networks.unet)
        denoiser = Denoiser(networks.unet, networks.tokens)
        yield "denoiser", denoiser
        yield "cached_denoiser", CachedDenoiser(denoiser)
        yield "decoder", networks.vae.decoder()
        if "encoder" in graphs:
            yield "encoder", networks.vae.encoder()

    @cached_property
    def _signatures(self) -> dict[str, tuple[TensorSpec, ...]]:
        return self._inputs(self.precision)

    def _inputs(self, precision: Precision) -> dict[str, tuple[TensorSpec, ...]]:
        """Of every graph."""
        networks, unet = self.networks, self.networks.unet
        widths = Widths(
            latent_channels=networks.vae.latent_channels,
            condition_channels=condition_channels(self.checkpoint),
            tokens=networks.tokens,
            context=sum(context_sizes(unet.module, networks.tokens)),
            time_embeds=unet.time_width,
            features=unet.feature_channels,
            embeds_guidance=unet.guidance_width is not None,
        )
        inputs = graph_inputs(widths, precision)
        return {name: inputs[name] for name in self.checkpoint.family.graphs}

    def _random_inputs(
        self, name: str, specs: tuple[TensorSpec, ...], sizes: Mapping[str, int], seed: int
    ) -> dict[str, Tensor]:
        factor, text_encoder = self.networks.vae.pixels_per_latent, self.networks.text_encoder
        pixels = {
            "height": sizes["latent_height"] * factor,
            "width": sizes["latent_width"] * factor,
        }
        batch = sizes["rows"] if name == "text_encoder" else sizes["batch"]
        tokens = text_encoder.vocab_size if text_encoder else 0
        return random_inputs(specs, {**sizes, **pixels, "batch": batch}, tokens, seed)
