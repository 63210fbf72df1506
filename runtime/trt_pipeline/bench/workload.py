"""Workload: the call that every candidate makes."""

from dataclasses import dataclass

COLORS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "black")
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")


@dataclass(frozen=True, slots=True)
class Workload:
    """The settings of one call, with diffusers' names."""

    batch: int = 1
    num_inference_steps: int = 50
    guidance_scale: float = 6.0
    eta: float = 0.0
    seed: int = 0
    """Of torch's generator, which draws the noise of the whole batch."""

    def prompts(self, turn: int) -> list[str]:
        """Other prompts each turn, the same for every candidate: no text is cached but the empty
        one, as in real use."""
        first = turn * self.batch
        return [_prompt(number) for number in range(first, first + self.batch)]


def _prompt(number: int) -> str:
    color = COLORS[number % len(COLORS)]
    shape = SHAPES[number // len(COLORS) % len(SHAPES)]
    return f"a {color} {shape}"
