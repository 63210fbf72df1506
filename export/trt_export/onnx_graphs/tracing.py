"""Networks: a checkpoint's modules from loading to traced graphs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from trt_export.checkpoint.folder import Checkpoint
from trt_export.networks import denoisers, graphs
from trt_export.networks.modules import Modules, load_modules
from trt_export.networks.precision import store_half
from trt_export.networks.preview import fit_preview
from trt_export.networks.random_inputs import random_inputs
from trt_export.networks.reference import reference_outputs
from trt_export.networks.signatures import graph_inputs
from trt_export.onnx_graphs import to_onnx
from trt_pipeline.bundle.manifest import Precision, TensorSpec

TRACED_SIZES = {"batch": 3, "rows": 5, "steps": 7, "latent_height": 8, "latent_width": 9}
CHECKED_SIZES = {"batch": 2, "rows": 4, "steps": 2, "latent_height": 6, "latent_width": 10}
"""Tracing must not fix what it saw, so graphs are checked at sizes they were not traced at."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Networks:
    """Loaded when first used. First reference(), on the modules as loaded; then trace(), which
    takes them apart."""

    checkpoint: Checkpoint
    precision: Precision

    @cached_property
    def modules(self) -> Modules:
        return load_modules(self.checkpoint, self.precision)

    def reference(self) -> dict[str, tuple[Tensors, Tensors]]:
        """Graph name → random inputs, and what the untouched modules answer to them."""
        inputs: dict[str, Tensors] = {
            name: self._random_inputs(name, specs, CHECKED_SIZES, seed)
            for seed, (name, specs) in enumerate(self.inputs("fp32").items())
        }
        outputs = self.reference_of(inputs)
        flowing = {name: t for answers in outputs.values() for name, t in answers.items()}
        for step in ("denoiser", "cached_denoiser"):
            inputs[step] = {name: flowing.get(name, t) for name, t in inputs[step].items()}
        return {name: (inputs[name], outputs[name]) for name in inputs}

    def reference_of(self, inputs: Mapping[str, Tensors]) -> dict[str, Tensors]:
        """What the untouched modules answer to every graph's random inputs."""
        return reference_outputs(self.modules, inputs)

    def preview(self) -> list[list[float]]:
        """The linear map from latents to colours that fits smooth random pictures best."""
        vae = self.modules.vqvae
        return fit_preview(self.encode, 2 ** (len(vae.config.block_out_channels) - 1))

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, H, W] in -1..1, as the denoiser knows them."""
        vae = self.modules.vqvae
        return vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor

    def trace(self, name: str, bundle: Path) -> None:
        """Write one graph's ONNX files into a bundle."""
        specs = self._signatures[name]
        example = self._random_inputs(name, specs, TRACED_SIZES, seed=0)
        to_onnx.save(name, to_onnx.trace(name, self._graphs[name], specs, example), bundle)

    def release(self) -> None:
        """Give the memory of modules and graphs back."""
        for loaded in ("modules", "_graphs"):
            self.__dict__.pop(loaded, None)

    @cached_property
    def _graphs(self) -> dict[str, nn.Module]:
        _ = self._signatures  # their widths are read off the layers that the graphs remove
        found = self.make_graphs()
        if self.precision == "fp16":
            for module in found.values():
                store_half(module)
        return found

    def make_graphs(self) -> dict[str, nn.Module]:
        """The graphs' modules; takes the loaded ones apart."""
        modules = self.modules
        before = {
            "text_encoder": graphs.TextEncoder(modules.bert, modules.unet),
            "time_embedding": graphs.TimeEmbedding(modules.unet),
        }
        denoiser = denoisers.Denoiser(modules.unet)
        return {
            **before,
            "denoiser": denoiser,
            "cached_denoiser": denoisers.CachedDenoiser(denoiser),
            "decoder": graphs.Decoder(modules.vqvae, modules.vqvae.config.scaling_factor),
            "encoder": graphs.Encoder(modules.vqvae),
        }

    @cached_property
    def _signatures(self) -> dict[str, tuple[TensorSpec, ...]]:
        return self.inputs(self.precision)

    def inputs(self, precision: Precision) -> dict[str, tuple[TensorSpec, ...]]:
        """Of every graph."""
        unet = self.modules.unet
        text = sum(graphs.text_sizes(unet))
        time = sum(block.time_emb_proj.out_features for block in graphs.resnet_blocks(unet))
        features = denoisers.feature_channels(unet)
        return graph_inputs(unet.config.in_channels, text, time, features, precision)

    def _random_inputs(
        self, name: str, specs: tuple[TensorSpec, ...], sizes: Mapping[str, int], seed: int
    ) -> dict[str, Tensor]:
        factor = 2 ** (len(self.modules.vqvae.config.block_out_channels) - 1)
        pixels = {
            "height": sizes["latent_height"] * factor,
            "width": sizes["latent_width"] * factor,
        }
        batch = sizes["rows"] if name == "text_encoder" else sizes["batch"]
        bert = self.modules.bert
        tokens = bert.config.vocab_size if bert else 0
        return random_inputs(specs, {**sizes, **pixels, "batch": batch}, tokens, seed)
