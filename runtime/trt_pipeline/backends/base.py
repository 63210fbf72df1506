"""What every backend offers, and the check of tensors at its edge."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import Arithmetic, Dim, Precision, TensorSpec
from trt_pipeline.errors import InvalidInputError

Tensors: TypeAlias = Mapping[str, NDArray[Any]]


class Graph(Protocol):
    """One graph, ready to run; safe to share between threads."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs.

        InvalidInputError for tensors that do not fit, BackendError if running fails.
        """


@runtime_checkable
class CompiledGraph(Graph, Protocol):
    """What a graph offers besides, if it is compiled for the sizes of its inputs."""

    def prepare(self, sizes: Mapping[str, int]) -> None:
        """Begin to compile for inputs of these sizes, by dimension; a run waits for it."""


class Backend(Protocol):
    """Opens the graphs of one bundle. A context manager: leaving it closes every graph."""

    name: str
    precision: Precision
    """Of the graphs that it runs: of what goes in and comes out."""
    arithmetic: Arithmetic
    device: str
    """What runs the graphs, in words."""

    def graph(self, name: str) -> Graph:
        """The graph of that name, opened on first use. BackendError if it can't be opened."""

    def close(self) -> None:
        """Free what the graphs hold; further use is an error."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class LoopBackend(Protocol):
    """What a backend offers besides, if it can take all steps without the host."""

    def denoise(
        self,
        latents: NDArray[np.float32],
        constants: Tensors,
        time_embeds: NDArray[Any],
        coefficients: NDArray[np.float32],
        noise: NDArray[np.float32] | None,
        cache_interval: int = 1,
    ) -> NDArray[np.float32]:
        """Latents [B, C, h, w] after all N steps, the same bits as a run of the denoiser per step.

        constants: the denoiser's inputs that stay the same. time_embeds: [N, M, E]. coefficients:
        [N, B, 8]. noise: [N, B, C, h, w]; None is zero. cache_interval: every n-th step is the
        denoiser's, the others are cached_denoiser's. The caller owns the result.
        """


class BackendModule(Protocol):
    """What a module of this package defines."""

    def obstacle(self, bundle: Bundle | None = None) -> str | None:
        """Why this backend cannot run here, or not this bundle; None if it can."""

    def open_backend(self, bundle: Bundle, threads: int | None) -> Backend:
        """Open the backend on a verified bundle."""


class TensorCheck:
    """Checks a graph's inputs against its signature and the bundle's limits."""

    def __init__(self, graph: str, inputs: tuple[TensorSpec, ...], bundle: Bundle) -> None:
        self._graph = graph
        self._inputs = {spec.name: spec for spec in inputs}
        self._ranges = _ranges(bundle)

    def __call__(self, tensors: Tensors) -> None:
        """InvalidInputError naming the tensor, what it is and what was expected."""
        if tensors.keys() != self._inputs.keys():
            raise InvalidInputError(
                f"{self._graph}: got the inputs {', '.join(sorted(tensors))}, "
                f"expected {', '.join(sorted(self._inputs))}."
            )
        sizes: dict[str, int] = {}
        for name, spec in self._inputs.items():
            self._check(spec, tensors[name], sizes)

    def _check(self, spec: TensorSpec, tensor: NDArray[Any], sizes: dict[str, int]) -> None:
        where = f"{self._graph}: {spec.name}"
        if tensor.dtype != np.dtype(spec.dtype):
            raise InvalidInputError(f"{where} is {tensor.dtype}, expected {spec.dtype}.")
        fits = len(tensor.shape) == len(spec.shape) and all(
            size == (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
            for size, dim in zip(tensor.shape, spec.shape, strict=True)
        )
        if not fits:
            expected = ", ".join(_describe(dim, sizes) for dim in spec.shape)
            raise InvalidInputError(f"{where} has shape {tensor.shape}, expected ({expected}).")
        for size, dim in zip(tensor.shape, spec.shape, strict=True):
            self._check_range(where, dim, size)

    def _check_range(self, where: str, dim: Dim, size: int) -> None:
        if not isinstance(dim, str) or dim not in self._ranges:
            return
        low, high = self._ranges[dim]
        if not low <= size <= high:
            raise InvalidInputError(
                f"{where} has {dim} {size}, but this bundle allows {low}..{high}."
            )


def _describe(dim: Dim, sizes: Mapping[str, int]) -> str:
    return f"{dim} = {sizes[dim]}" if isinstance(dim, str) and dim in sizes else str(dim)


def _ranges(bundle: Bundle) -> dict[str, tuple[int, int]]:
    """Dimension name → lowest and highest size."""
    limits, factor = bundle.limits, bundle.model.vae_scale_factor
    (bottom, top), (left, right) = limits.height, limits.width
    return {
        "batch": limits.batch,
        "height": limits.height,
        "width": limits.width,
        "latent_height": (bottom // factor, top // factor),
        "latent_width": (left // factor, right // factor),
    }
