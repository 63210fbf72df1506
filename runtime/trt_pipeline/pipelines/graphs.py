"""Graphs: a bundle's graphs on a backend, as the parts of a call run them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends import Backend, CompiledGraph, Graph
from trt_pipeline.bundle import Bundle, verify_files
from trt_pipeline.bundle.capabilities import ALWAYS, check_graphs, takes_prompts
from trt_pipeline.errors import BackendError
from trt_pipeline.pictures.tiling import decode_in_tiles


class Graphs:
    """A bundle and the backend that runs it. Graphs that not every call needs open when used."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Opens what every call runs, while the hashes just checked still hold."""
        check_graphs(bundle)
        self.bundle = bundle
        self.backend = backend
        for name in (*ALWAYS, "text_encoder") if takes_prompts(bundle) else ALWAYS:
            backend.graph(name)
        self._checked_later: set[str] = set()

    def run(self, name: str, **tensors: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Outputs of a graph that every call runs."""
        return self.backend.graph(name).run(tensors)

    def opened_later(self, name: str) -> Graph:
        """A graph that is opened when first used, long after the bundle's hashes were checked."""
        if name not in self._checked_later:
            spec = self.bundle.graph(name, self.backend.precision)
            files = {file: self.bundle.files[file] for file in (spec.path, spec.weights)}
            verify_files(self.bundle.path, files, hashes=True)
            self._checked_later.add(name)
        return self.backend.graph(name)

    def prepare(self, name: str, sizes: Mapping[str, int]) -> None:
        """Begin to compile a graph for these sizes, where the backend compiles."""
        graph = self.backend.graph(name)
        if isinstance(graph, CompiledGraph):
            graph.prepare(sizes)

    def split(self, count: int) -> list[slice]:
        """Places of consecutive samples, as many at a time as the bundle allows."""
        size = self.bundle.limits.batch[1]
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def encode_images(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.uint8] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Means and deviations [B, C, h, w] of the latents of pictures [B, H, W, 3].

        masks: [B, H, W], 1 where a picture is left out; for an encoder that takes them.
        """
        graph = self.opened_later("encoder")
        tensors = {"image": pixels}
        if "mask" in self.bundle.inputs("encoder"):
            tensors["mask"] = np.zeros(pixels.shape[:3], np.uint8) if masks is None else masks
        parts = [
            graph.run({name: tensor[place] for name, tensor in tensors.items()})
            for place in self.split(len(pixels))
        ]
        mean, std = (
            np.concatenate([part[name] for part in parts])
            for name in ("latents_mean", "latents_std")
        )
        return mean, std

    def decode(
        self, latents: NDArray[np.float32], tile: int | None = None, name: str = "decoder"
    ) -> NDArray[np.uint8]:
        """Pixels [B, H, W, 3] of latents [B, C, h, w].

        tile: side of tiles in latents. name: the graph, decoder or tiny_decoder.
        """
        graph = self.backend.graph(name) if name in ALWAYS else self.opened_later(name)
        decode, factor = partial(self._decode, name, graph), self.bundle.model.vae_scale_factor
        parts = [latents[place] for place in self.split(len(latents))]
        if tile is None:
            return np.concatenate([decode(part) for part in parts])
        return np.concatenate([decode_in_tiles(decode, part, tile, factor) for part in parts])

    def is_unsafe(self, pixels: NDArray[np.uint8]) -> list[bool]:
        """What the bundle's safety checker says of each picture [B, H, W, 3]."""
        graph = self.opened_later("safety_checker")
        parts = [pixels[place] for place in self.split(len(pixels))]
        answers = [graph.run({"image": part})["has_nsfw_concept"] for part in parts]
        return [bool(one) for answer in answers for one in answer]

    def _decode(self, name: str, graph: Graph, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = graph.run({"latents": latents})["image"]
        factor = self.bundle.model.vae_scale_factor
        expected = (len(latents), latents.shape[2] * factor, latents.shape[3] * factor, 3)
        if pixels.shape != expected:
            raise BackendError(
                f"{name}: image has shape {pixels.shape}, expected {expected}. "
                "Export the checkpoint again."
            )
        return pixels
