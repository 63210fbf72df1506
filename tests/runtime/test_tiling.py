import numpy as np
import pytest
from numpy.typing import NDArray

from trt_pipeline.pictures.tiling import decode_in_tiles

Latents = NDArray[np.float32]


def enlarge(latents: Latents) -> NDArray[np.uint8]:
    """A decoder whose pixels depend on their own latent only."""
    pixels = latents[:, :3].repeat(8, axis=2).repeat(8, axis=3)
    return pixels.transpose(0, 2, 3, 1).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(20, 9), (8, 8), (5, 33), (64, 64)])
def test_a_local_decoder_gives_the_same_in_tiles(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    latents = random.integers(0, 256, (2, 4, height, width)).astype(np.float32)
    np.testing.assert_array_equal(decode_in_tiles(enlarge, latents, 8, 8), enlarge(latents))


def test_no_tile_is_larger_than_asked_for() -> None:
    sizes = []

    def decode(latents: Latents) -> NDArray[np.uint8]:
        sizes.append(latents.shape[2:])
        return enlarge(latents)

    decode_in_tiles(decode, np.zeros((1, 4, 21, 30), np.float32), 8, 8)
    assert set(sizes) == {(8, 8)}
    assert len(sizes) == 20


def test_tiles_of_different_brightness_fade_into_each_other() -> None:
    brightness = iter((100, 120))

    def decode(latents: Latents) -> NDArray[np.uint8]:
        return np.full_like(enlarge(latents), next(brightness))

    row = decode_in_tiles(decode, np.zeros((1, 4, 8, 12), np.float32), 8, 8)[0, 0, :, 0].astype(int)
    assert (row[0], row[-1]) == (100, 120)
    assert np.diff(row).max() <= 2
