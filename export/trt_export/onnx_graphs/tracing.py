"""From a checkpoint's networks to traced graphs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from trt_export.checkpoint.folder import Checkpoint
from trt_export.networks.float16_range import beyond_half, check_finite, watched
from trt_export.networks.graphs import (
    Signatures,
    checked_inputs,
    modules,
    signatures,
    traced_inputs,
)
from trt_export.networks.precision import store_half
from trt_export.networks.preview import fit_preview
from trt_export.networks.reference import reference_outputs
from trt_export.networks.reference_pipeline import Drawing, draw
from trt_export.networks.weights import Networks, load_networks
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
        family = self.checkpoint.family
        inputs = checked_inputs(self.networks, signatures(self.networks, family, "fp32"))
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
        example = traced_inputs(self.networks, name, specs)
        to_onnx.save(name, to_onnx.trace(name, self._graphs[name], specs, example), bundle)

    def release(self) -> None:
        """Give the memory of networks and graphs back."""
        for loaded in ("networks", "_graphs"):
            self.__dict__.pop(loaded, None)

    @cached_property
    def _graphs(self) -> dict[str, nn.Module]:
        """The graphs' modules; takes the networks apart."""
        _ = self._signatures  # their widths are read off the layers that the graphs remove
        found = dict(modules(self.networks, self.checkpoint.family))
        if self.precision == "fp16":
            for name, module in found.items():
                if name not in self.networks.wide:
                    store_half(module)
        return found

    @cached_property
    def _signatures(self) -> Signatures:
        return signatures(self.networks, self.checkpoint.family, self.precision)
