"""How far two pictures are apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_PSNR = 40.0
"""dB; pictures less alike than float16 weights may make them are not the same picture."""
EQUAL_PSNR = 120.0
"""dB, of equal pictures: JSON has no infinity, and no pair of 8-bit pictures comes near."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of uint8 pixels."""

    within_one: float
    """Part of the colour values that are at most 1 of 255 apart."""
    largest: int
    """Largest difference, of 255."""
    psnr: float
    """Peak signal-to-noise ratio in dB."""

    @property
    def agrees(self) -> bool:
        """Whether both can pass for the same picture."""
        return self.psnr >= LEAST_PSNR


def difference(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> Difference:
    """Compare pixels [B, H, W, 3]; pictures of another shape are as far apart as can be."""
    if found.shape != expected.shape:
        return Difference(0.0, 255, 0.0)
    apart = np.abs(np.subtract(found, expected, dtype=np.int16))
    error = float(np.square(apart / 255).mean())
    psnr = -10 * float(np.log10(error)) if error else EQUAL_PSNR
    return Difference(float((apart <= 1).mean()), int(apart.max()), psnr)


def worst(differences: list[Difference]) -> Difference:
    """The least alike in each respect."""
    return Difference(
        min(one.within_one for one in differences),
        max(one.largest for one in differences),
        min(one.psnr for one in differences),
    )
