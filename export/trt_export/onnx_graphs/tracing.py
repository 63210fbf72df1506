"""From a checkpoint's networks to traced graphs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from trt_export.checkpoint.folder import Checkpoint
from trt_export.networks.autoencoders.preview import fit_preview
from trt_export.networks.float16_range import beyond_half, check_finite, watched
from trt_export.networks.graphs import (
    checked_inputs,
    modules,
    signatures,
    traced_inputs,
)
from trt_export.networks.reference.answers import reference_outputs
from trt_export.networks.reference.pipeline import Drawing, draw
from trt_export.networks.weights.loading import Networks, load_networks
from trt_export.networks.weights.precision import store_half
from trt_export.onnx_graphs import to_onnx
from trt_pipeline.bundle.manifest import Precision

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
    """A checkpoint's networks on their way to graphs. All are in memory for reference(), and then
    only what the graph is made of that is traced."""

    checkpoint: Checkpoint
    precision: Precision
    wide: Mapping[str, str] = field(default_factory=dict)
    """Graph of the VAE that stays float32 in a float16 bundle → why; reference() finds them."""

    def reference(self) -> Reference:
        """Answers of the networks as they will be stored.

        CheckpointError for numbers that are not finite, or beyond float16 where a bundle needs it.
        """
        path = self.checkpoint.path
        networks = self._load()
        with watched(networks) as largest:
            reference = self._reference_of(networks)
        check_finite(largest, path)
        if self.precision == "fp32":
            return reference
        known = networks.wide
        self.wide = {**beyond_half(largest, path), **known}
        if self.wide.keys() == known.keys():
            return reference
        del networks  # it answered with rounded weights, and there may be no room for two
        return self._reference_of(self._load())

    def _reference_of(self, networks: Networks) -> Reference:
        return Reference(self._answers(networks), draw(self.checkpoint, networks))

    def _answers(self, networks: Networks) -> dict[str, tuple[Tensors, Tensors]]:
        inputs = checked_inputs(networks, signatures(networks, self.checkpoint.family, "fp32"))
        outputs = reference_outputs(networks, inputs)
        flowing = {name: t for answers in outputs.values() for name, t in answers.items()}
        for step in ("denoiser", "cached_denoiser"):
            inputs[step] = {name: flowing.get(name, t) for name, t in inputs[step].items()}
        return {name: (inputs[name], outputs[name]) for name in inputs}

    def preview(self) -> list[list[float]]:
        """The linear map from latents to colours that fits smooth random pictures best."""
        vae = self._load("encoder").vae
        return fit_preview(vae.encode, vae.pixels_per_latent)

    def trace(self, name: str, bundle: Path) -> None:
        """Write one graph's ONNX files into a bundle."""
        networks, family = self._load(name), self.checkpoint.family
        specs = signatures(networks, family, self.precision)[name]
        example = traced_inputs(networks, name, specs)
        module = dict(modules(networks, family))[name]
        if self.precision == "fp16" and name not in networks.wide:
            store_half(module)
        to_onnx.save(name, to_onnx.trace(name, module, specs, example), bundle)

    def _load(self, graph: str | None = None) -> Networks:
        """The networks, or what one graph needs of them."""
        return load_networks(self.checkpoint, self.precision, self.wide, graph)
