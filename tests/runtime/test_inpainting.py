import numpy as np

from trt_pipeline.sampling.inpainting import (
    KnownLatents,
    kept_latents,
    paste,
    untouched_latents,
)


def test_a_latent_stays_if_its_first_pixel_does() -> None:
    repainted = np.zeros((16, 16), np.bool_)
    repainted[7, 8] = repainted[8, 0] = True
    assert kept_latents(repainted, 8).tolist() == [[[True, True], [False, True]]]


def test_a_latent_is_untouched_only_if_all_its_pixels_are() -> None:
    repainted = np.zeros((16, 16), np.bool_)
    repainted[7, 8] = True
    assert untouched_latents(repainted, 8).tolist() == [[[True, False], [True, True]]]


def test_without_noise_the_known_part_is_exact() -> None:
    clean, noise = np.full((1, 1, 2), 0.1, np.float32), np.full((1, 1, 2), 3, np.float32)
    known = KnownLatents(clean, noise, np.array([[[True, False]]]))
    restored = known.restore(np.full_like(clean, 7), np.float32(1))
    assert restored.tolist() == [[[np.float32(0.1), 7]]]


def test_the_known_part_is_put_back_at_its_noise_level() -> None:
    clean, noise = np.full((1, 1, 2), 2, np.float32), np.full((1, 1, 2), 3, np.float32)
    known = KnownLatents(clean, noise, np.array([[[True, False]]]))
    restored = known.restore(np.full_like(clean, 7), np.float32(0.36))
    np.testing.assert_allclose(restored, [[[0.6 * 2 + 0.8 * 3, 7]]], rtol=1e-6)


def test_known_pixels_stay_exactly_and_an_even_offset_vanishes() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 200, (24, 40, 3), np.uint8)
    painted = given + np.uint8(20)
    repainted = np.zeros((24, 40), np.bool_)
    repainted[5:17, 9:30] = True
    merged = paste(painted, given, repainted)
    np.testing.assert_array_equal(merged, given)


def test_a_painted_part_without_border_is_taken_as_it_is() -> None:
    painted = np.full((8, 8, 3), 9, np.uint8)
    merged = paste(painted, np.zeros_like(painted), np.ones((8, 8), np.bool_))
    np.testing.assert_array_equal(merged, painted)


def test_there_is_no_jump_at_the_border() -> None:
    ramp = np.linspace(0, 120, 64).astype(np.uint8)
    given = np.broadcast_to(ramp[:, None], (64, 64, 3)).copy()
    painted = np.broadcast_to(ramp[:, None, None], (64, 64, 3)).copy() // 2 + np.uint8(90)
    repainted = np.zeros((64, 64), np.bool_)
    repainted[20:44, 20:44] = True
    merged = paste(painted, given, repainted).astype(int)
    before = abs(painted.astype(int) - given)[20:44, 19].max()
    after = abs(merged[20:44, 20] - merged[20:44, 19]).max()
    assert before > 50
    assert after <= 4
