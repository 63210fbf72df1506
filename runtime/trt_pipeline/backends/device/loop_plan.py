"""The plan of the denoising loop: which address each step reads and writes.

One block holds it all:

    constants | row 0 | row 1 | … | row N-1 | spare row | state 0 | state 1

A row has what only its step sees: coefficients, time embedding, and noise if any is drawn. A state
has the latents and the history. A step reads one state and writes the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.backends.device.layout import Layout, Tensor, lay_out

CARRIED = {"latents": "next_latents", "history": "next_history"}
"""Input of a step → output of the step before."""


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """Offsets in bytes from the start of the block."""

    steps: int
    constants: Layout
    row: Layout
    state: Layout

    @property
    def spare(self) -> int:
        """Number of the row that no step owns."""
        return self.steps

    @property
    def size(self) -> int:
        """Of the whole block."""
        return self.state_offset(2)

    def row_offset(self, row: int) -> int:
        """Where a row starts."""
        return self.constants.size + row * self.row.size

    def state_offset(self, state: int) -> int:
        """Where a state starts; state 2 is the end."""
        return self.row_offset(self.steps + 1) + state * self.state.size

    def inputs(self, row: int, state: int) -> dict[str, int]:
        """Offset of every input of a step that reads this row and this state."""
        return {
            **self.constants.offsets,
            **_moved(self.row, self.row_offset(row)),
            **_moved(self.state, self.state_offset(state)),
        }

    def outputs(self, state: int) -> dict[str, int]:
        """Offset of every output of a step that writes this state."""
        moved = _moved(self.state, self.state_offset(state))
        return {CARRIED[name]: offset for name, offset in moved.items()}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every input and output of a step."""
        outputs = {CARRIED[name]: tensor for name, tensor in self.state.tensors.items()}
        return {**self.constants.tensors, **self.row.tensors, **self.state.tensors, **outputs}


def plan_loop(steps: int, inputs: Mapping[str, NDArray[Any]], draws_noise: bool) -> LoopPlan:
    """Plan for `steps` steps that see inputs of these shapes and dtypes.

    draws_noise: whether each step has noise of its own; else all share what the constants hold.
    """
    tensors = {name: Tensor(array.shape, np.dtype(array.dtype)) for name, array in inputs.items()}
    own = ["time_embeds", "coefficients", *(["noise"] if draws_noise else [])]
    constant = [name for name in tensors if name not in own and name not in CARRIED]
    constants, row, state = (
        lay_out({name: tensors[name] for name in names}) for names in (constant, own, CARRIED)
    )
    return LoopPlan(steps, constants, row, state)


def _moved(layout: Layout, start: int) -> dict[str, int]:
    return {name: start + offset for name, offset in layout.offsets.items()}
