"""The plan of the denoising loop: which address each step reads and writes.

One block holds it all:

    constants | row 0 | row 1 | … | row N-1 | spare row | state 0 | state 1 | features

A row has what only its step sees: coefficients, time embedding, and noise if any is drawn. A state
has the latents and the history. A step reads one state and writes the other. The denoiser writes
the features, cached_denoiser reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trt_pipeline.backends.device.layout import Layout, Tensor, lay_out

CARRIED = {"latents": "next_latents", "history": "next_history"}
"""Input of a step → output of the step before."""
FEATURES = "features"
"""Output of a whole step → input of the cached ones after it."""


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """Offsets in bytes from the start of the block."""

    steps: int
    constants: Layout
    row: Layout
    state: Layout
    features: Layout
    """Empty for a bundle without cached_denoiser."""

    @property
    def spare(self) -> int:
        """Number of the row that no step owns."""
        return self.steps

    @property
    def size(self) -> int:
        """Of the whole block."""
        return self.state_offset(2) + self.features.size

    def row_offset(self, row: int) -> int:
        """Where a row starts."""
        return self.constants.size + row * self.row.size

    def state_offset(self, state: int) -> int:
        """Where a state starts; at state 2 the features do."""
        return self.row_offset(self.steps + 1) + state * self.state.size

    def step(self, row: int, state: int) -> dict[str, int]:
        """Offset of every input and output of a step that reads this row and this state, and writes
        the other one."""
        written = _moved(self.state, self.state_offset(1 - state))
        return {
            **self.constants.offsets,
            **_moved(self.row, self.row_offset(row)),
            **_moved(self.state, self.state_offset(state)),
            **{CARRIED[name]: offset for name, offset in written.items()},
            **_moved(self.features, self.state_offset(2)),
        }

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every input and output of a step."""
        layouts = (self.constants, self.row, self.state, self.features)
        outputs = {CARRIED[name]: tensor for name, tensor in self.state.tensors.items()}
        return {name: t for layout in layouts for name, t in layout.tensors.items()} | outputs


def plan_loop(steps: int, tensors: Mapping[str, Tensor], draws_noise: bool) -> LoopPlan:
    """Plan for `steps` steps of a denoiser with these inputs and outputs.

    draws_noise: whether each step has noise of its own; else all share what the constants hold.
    """
    own = ["time_embeds", "coefficients", *(["noise"] if draws_noise else [])]
    features = [FEATURES] if FEATURES in tensors else []
    others = {*own, *features, *CARRIED, *CARRIED.values()}
    constant = [name for name in tensors if name not in others]
    return LoopPlan(
        steps,
        *(
            lay_out({name: tensors[name] for name in names})
            for names in (constant, own, CARRIED, features)
        ),
    )


def _moved(layout: Layout, start: int) -> dict[str, int]:
    return {name: start + offset for name, offset in layout.offsets.items()}
