"""The denoising loop on the device, without a word from the host between its steps."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.device.loop_plan import LoopPlan
from trt_pipeline.backends.device.memory import Device
from trt_pipeline.backends.device.program import Executor

logger = logging.getLogger(__name__)


class DeviceLoop:
    """All steps of one plan, on buffers of its own.

    The first executor takes every `interval`-th step, the second those between.

    Where addresses may change at no cost, each step is bound to its own rows, and all of them
    become one recording after the first run, which settles what executors keep inside. Else one
    step's addresses stay, and its row and state are copied there on the device.
    """

    def __init__(
        self, device: Device, plan: LoopPlan, executors: Sequence[Executor], interval: int = 1
    ) -> None:
        self._device = device
        self._plan = plan
        self._executors = executors
        self._interval = interval
        self._moves = executors[0].moves
        self._block = device.block(plan.size)
        self._replay: Callable[[], None] | None = None
        self._tried = False
        if not self._moves:
            for executor in executors:
                executor.bind(self._addresses(plan.spare, 0))

    def run(
        self, latents: NDArray[np.float32], fixed: Mapping[str, NDArray[Any]], rows: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Latents [B, C, h, w] after all steps. rows: [N, bytes of a row]."""
        plan, block = self._plan, self._block
        for name, offset in plan.constants.offsets.items():
            block.write(offset, fixed[name])
        block.write(plan.row_offset(0), rows)
        for name, offset in plan.state.offsets.items():
            tensor = plan.state.tensors[name]
            start = latents if name == "latents" else np.zeros(tensor.shape, tensor.dtype)
            block.write(plan.state_offset(0) + offset, start)
        end = self._steps()
        offset = plan.state_offset(end) + plan.state.offsets["latents"]
        return block.read(offset, latents.shape, latents.dtype)

    def _steps(self) -> int:
        """Enqueue every step; the state that holds the result."""
        if not self._moves:
            self._enqueue_in_place()
            return 0
        if self._replay is not None:
            self._replay()
        else:
            self._enqueue_by_address()
            self._record()
        return self._plan.steps % 2

    def _enqueue_by_address(self) -> None:
        for step in range(self._plan.steps):
            executor = self._executor(step)
            executor.bind(self._addresses(step, step % 2))
            executor.enqueue()

    def _enqueue_in_place(self) -> None:
        plan, block = self._plan, self._block
        for step in range(plan.steps):
            block.move(plan.row_offset(plan.spare), plan.row_offset(step), plan.row.size)
            self._executor(step).enqueue()
            block.move(plan.state_offset(0), plan.state_offset(1), plan.state.size)

    def _executor(self, step: int) -> Executor:
        return self._executors[step % self._interval != 0]

    def _addresses(self, row: int, state: int) -> dict[str, int]:
        start = self._block.address
        return {name: start + offset for name, offset in self._plan.step(row, state).items()}

    def _record(self) -> None:
        """Once; a loop that cannot be recorded goes on being enqueued step by step."""
        if self._tried:
            return
        self._tried = True
        obstacles = [executor.obstacle_to_recording() for executor in self._executors]
        obstacle = next(filter(None, obstacles), None)
        if obstacle is None:
            try:
                self._replay = self._device.record(self._enqueue_by_address)
            except RuntimeError as error:
                obstacle = str(error)
        if obstacle is not None:
            logger.info("the loop is enqueued step by step: %s", obstacle)


def pack_rows(plan: LoopPlan, own: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Rows [N, bytes of a row] of what each step sees: name → [N, …]."""
    rows = np.zeros((plan.steps, plan.row.size), np.uint8)
    for name, offset in plan.row.offsets.items():
        tensor = plan.row.tensors[name]
        values = np.ascontiguousarray(own[name]).reshape(plan.steps, -1)
        rows[:, offset : offset + tensor.size] = values.view(np.uint8)
    return rows
