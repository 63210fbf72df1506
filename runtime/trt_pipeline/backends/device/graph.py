"""A graph on the device, with NumPy arrays in and out."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.base import TensorCheck, Tensors
from trt_pipeline.backends.device.layout import Layout, Shape, Tensor, lay_out
from trt_pipeline.backends.device.memory import Block, Device
from trt_pipeline.backends.device.program import Executor, Program
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import GraphSpec, TensorSpec

MOST_SHAPES = 8
"""Sets of shapes that a graph stays bound for; each has buffers of its own."""

Shapes: TypeAlias = tuple[Shape, ...]


class DeviceGraph:
    """One graph, bound to buffers when it first meets a set of shapes."""

    def __init__(
        self,
        name: str,
        spec: GraphSpec,
        device: Device,
        bundle: Bundle,
        open_program: Callable[[], Program],
    ) -> None:
        self.inputs = spec.inputs
        self.outputs = spec.outputs
        self.program = open_program()
        self.check = TensorCheck(name, spec.inputs, bundle)
        self._name = name
        self._device = device
        self._factor = bundle.model.vae_scale_factor
        self._bound: OrderedDict[Shapes, Bound] = OrderedDict()

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Inputs by name to outputs by name; the caller owns the outputs."""
        self.check(tensors)
        with self._device.use(self._name):
            return self._bind(tensors).run(tensors)

    def _bind(self, tensors: Tensors) -> "Bound":
        shapes = tuple(tensors[spec.name].shape for spec in self.inputs)
        if shapes not in self._bound:
            layout = lay_out(self.tensors(tensors))
            executor = self.program.executor(layout.tensors)
            self._bound[shapes] = Bound(self._device, layout, executor, self.outputs)
        self._bound.move_to_end(shapes)
        if len(self._bound) > MOST_SHAPES:
            self._bound.popitem(last=False)
        return self._bound[shapes]

    def tensors(self, tensors: Tensors) -> dict[str, Tensor]:
        """Every input and output, for inputs of these shapes."""
        sizes = _sizes(self.inputs, tensors, self._factor)
        return {
            spec.name: Tensor(
                tuple(dim if isinstance(dim, int) else sizes[dim] for dim in spec.shape),
                np.dtype(spec.dtype),
            )
            for spec in (*self.inputs, *self.outputs)
        }


class Bound:
    """A graph with buffers for one set of shapes."""

    def __init__(
        self, device: Device, layout: Layout, executor: Executor, outputs: tuple[TensorSpec, ...]
    ) -> None:
        self._layout = layout
        self._executor = executor
        self._outputs = [output.name for output in outputs]
        self._block = device.block(layout.size)
        start = self._block.address
        executor.bind({name: start + offset for name, offset in layout.offsets.items()})

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Copy in, run, copy out."""
        for name, array in tensors.items():
            self._block.write(self._layout.offsets[name], array)
        self._executor.enqueue()
        return {name: self._read(self._block, name) for name in self._outputs}

    def _read(self, block: Block, name: str) -> NDArray[Any]:
        tensor = self._layout.tensors[name]
        return block.read(self._layout.offsets[name], tensor.shape, tensor.dtype)


def _sizes(inputs: tuple[TensorSpec, ...], tensors: Tensors, factor: int) -> Mapping[str, int]:
    """Every dimension's size: those of the inputs, and pixels or latents where they lack one."""
    sizes = {
        dim: size
        for spec in inputs
        for dim, size in zip(spec.shape, tensors[spec.name].shape, strict=True)
        if isinstance(dim, str)
    }
    for pixels in ("height", "width"):
        latents = f"latent_{pixels}"
        if latents in sizes:
            sizes.setdefault(pixels, sizes[latents] * factor)
        elif pixels in sizes:
            sizes[latents] = sizes[pixels] // factor
    return sizes
