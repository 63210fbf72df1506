"""What the GPU backends share: graphs opened once, and the whole loop on the device."""

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.device.graph import DeviceGraph
from trt_pipeline.backends.device.layout import Shape
from trt_pipeline.backends.device.loop import DeviceLoop, pack_rows
from trt_pipeline.backends.device.loop_plan import plan_loop
from trt_pipeline.backends.device.memory import Device
from trt_pipeline.backends.device.program import Program
from trt_pipeline.bundle import Bundle
from trt_pipeline.bundle.manifest import Arithmetic, Precision
from trt_pipeline.closing import Closing
from trt_pipeline.errors import BackendError

MOST_LOOPS = 4
"""Loops kept ready: each is one number of steps and one set of shapes."""

LoopKey: TypeAlias = tuple[int, int, bool, tuple[Shape, ...]]


class DeviceBackend(Closing):
    """Graphs on one device. Safe to share between threads, which take turns."""

    name: str

    def __init__(self, bundle: Bundle, device: Device) -> None:
        self.bundle = bundle
        self.precision: Precision = bundle.precision
        self.arithmetic: Arithmetic = bundle.precision
        self.device = device.description
        self._device = device
        self._graphs: dict[str, DeviceGraph] = {}
        self._loops: OrderedDict[LoopKey, DeviceLoop] = OrderedDict()
        self._closed = False

    @abstractmethod
    def open_program(self, name: str) -> Program:
        """Load one graph; BackendError if that is not possible."""

    def graph(self, name: str) -> DeviceGraph:
        """The graph of that name, opened on first use."""
        with self._device.use(name):
            if self._closed:
                raise BackendError("the pipeline is closed; open it again with trt_pipeline(…).")
            if name not in self._graphs:
                spec = self.bundle.graph(name, self.precision)
                self._graphs[name] = DeviceGraph(
                    name, spec, self._device, self.bundle, lambda: self.open_program(name)
                )
            return self._graphs[name]

    def denoise(
        self,
        latents: NDArray[np.float32],
        constants: Mapping[str, NDArray[Any]],
        time_embeds: NDArray[Any],
        coefficients: NDArray[np.float32],
        noise: NDArray[np.float32] | None,
        cache_interval: int = 1,
    ) -> NDArray[np.float32]:
        """LoopBackend.denoise: nothing waits for the device until the last step is done."""
        graph = self.graph("denoiser")
        graphs = [graph] if cache_interval == 1 else [graph, self.graph("cached_denoiser")]
        steps = len(coefficients)
        own: dict[str, NDArray[Any]] = {
            "time_embeds": time_embeds,
            "coefficients": coefficients,
        }
        fixed = dict(constants)
        if noise is None:
            fixed["noise"] = np.zeros_like(latents)
        else:
            own["noise"] = noise
        history = np.zeros((3, *latents.shape), np.float32)
        first = {name: rows[0] for name, rows in own.items()}
        inputs = {"latents": latents, "history": history, **fixed, **first}
        graph.check(inputs)
        with self._device.use("denoiser"):
            plan = plan_loop(steps, graph.tensors(inputs), noise is not None)
            key = (
                steps,
                cache_interval,
                noise is not None,
                tuple(inputs[spec.name].shape for spec in graph.inputs),
            )
            if key not in self._loops:
                executors = [one.program.executor(plan.tensors) for one in graphs]
                self._loops[key] = DeviceLoop(self._device, plan, executors, cache_interval)
            self._loops.move_to_end(key)
            if len(self._loops) > MOST_LOOPS:
                self._loops.popitem(last=False)
            return self._loops[key].run(latents, fixed, pack_rows(plan, own))

    def close(self) -> None:
        """Free graphs, buffers and recordings."""
        with self._device.use("close"):
            self._closed = True
            self._loops.clear()
            self._graphs.clear()
