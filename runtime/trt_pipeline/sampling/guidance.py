"""Guidance: which texts a sample's denoiser rows see, and how their predictions mix."""

from trt_pipeline.text.prompts import Mixture


def guide(mixture: Mixture, negative: str, scale: float) -> list[tuple[str, float]]:
    """Text and weight of each row: classifier-free guidance, arXiv:2207.12598, u + g·(c - u).

    u sees the negative prompt and comes first; c is the weighted sum of what the prompt's texts
    give. A scale of exactly 1 needs no unconditional row.
    """
    unconditional = [(negative, 1 - scale)] if scale != 1 else []
    return [*unconditional, *((text, scale * weight) for text, weight in mixture)]


def guided_steps(interval: tuple[float, float], steps: int) -> tuple[bool, ...]:
    """Whether each step is guided: step i of N is, if start <= i / N < stop (arXiv:2404.07724)."""
    start, stop = interval
    return tuple(start <= step / steps < stop for step in range(steps))
