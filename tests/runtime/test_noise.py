import math

import numpy as np
import pytest

from trt_pipeline import InvalidInputError, SeedNoise, TorchGenerator
from trt_pipeline.sampling.noise import Draws, SharedNoise, given_draws, image_seeds

SHAPE = (1, 4, 8, 8)


def test_seed_noise_is_standard_normal() -> None:
    values = SeedNoise(0).draw((1, 4, 128, 128))
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.01)


def test_seed_noise_never_changes() -> None:
    """A seed must give the same picture in every release and every language."""
    values = SeedNoise(2**64 - 1).draw((1, 1, 2, 2)).ravel()
    expected = [-0.3471274971961975, -1.666235089302063, -0.2814759612083435, -1.3031625747680664]
    np.testing.assert_allclose(values, expected, rtol=2e-7)


def test_seed_noise_follows_its_written_formula() -> None:
    r, t = (int(word) >> 11 for word in np.random.Philox(key=7).random_raw(2))
    radius = math.sqrt(-2 * math.log((r + 1) / 2**53))
    angle = 2 * math.pi * t / 2**53
    expected = [radius * math.cos(angle), radius * math.sin(angle)]
    np.testing.assert_allclose(SeedNoise(7).draw((1, 2, 1, 1)).ravel(), expected, rtol=2e-7)


def test_seed_noise_goes_on_from_draw_to_draw() -> None:
    noise = SeedNoise(3)
    two = np.concatenate([noise.draw(SHAPE), noise.draw(SHAPE)])
    np.testing.assert_array_equal(two, SeedNoise(3).draw((2, 4, 8, 8)))


def test_an_odd_draw_drops_the_last_number() -> None:
    whole = SeedNoise(3).draw((4,))
    np.testing.assert_array_equal(SeedNoise(3).draw((3,)), whole[:3])


def test_different_seeds_give_different_noise() -> None:
    assert not np.array_equal(SeedNoise(0).draw(SHAPE), SeedNoise(1).draw(SHAPE))


@pytest.mark.parametrize("seed", [0, 5, 2**32 + 5, 2**64 - 1, -3])
def test_torch_generator_continues_like_torch(seed: int) -> None:
    """Two units in the last place: torch computes logarithm and cosine with its own polynomials."""
    torch = pytest.importorskip("torch")
    theirs = torch.Generator().manual_seed(seed)
    ours = TorchGenerator(seed)
    for shape in [(1, 4, 8, 8), (3,), (2, 4, 4, 6), (1, 1, 3, 6), (5,), (16,), (17,), (1,), (2,)]:
        expected = torch.randn(shape, generator=theirs).numpy()
        np.testing.assert_allclose(ours.draw(shape), expected, rtol=2.4e-7, atol=2.4e-7)


def test_torch_generator_counts_the_low_32_bits() -> None:
    first = TorchGenerator(5).draw(SHAPE)
    np.testing.assert_array_equal(TorchGenerator(2**32 + 5).draw(SHAPE), first)


def test_a_list_of_streams_has_one_for_each_sample() -> None:
    _, second = given_draws([SeedNoise(1), SeedNoise(2)], 2).streams
    np.testing.assert_array_equal(second.draw(SHAPE), SeedNoise(2).draw(SHAPE))


def test_samples_of_one_stream_take_their_parts_of_its_draws() -> None:
    stream = TorchGenerator(1)
    expected = [stream.draw((2, 4, 8, 8)) for _ in range(2)]
    first, second = given_draws(TorchGenerator(1), 2).streams
    for draw in range(2):
        np.testing.assert_array_equal(second.draw(SHAPE), expected[draw][1:])
    for draw in range(2):
        np.testing.assert_array_equal(first.draw(SHAPE), expected[draw][:1])


def test_a_draw_is_kept_until_every_sample_took_its_part() -> None:
    shared = SharedNoise(SeedNoise(1), 2)
    for draw in range(3):
        shared.part(draw, 0, SHAPE)
    assert [drawn.size for drawn in shared._drawn] == [512, 512, 512]
    shared.part(0, 1, SHAPE)
    assert [drawn.size for drawn in shared._drawn] == [0, 512, 512]


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "1", float("nan")])
def test_impossible_seeds_are_refused(seed: int) -> None:
    with pytest.raises(InvalidInputError, match="seed must be an integer from 0 to 1844"):
        SeedNoise(seed)


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64, 1.5, False])
def test_seeds_that_torch_refuses_are_refused(seed: int) -> None:
    with pytest.raises(InvalidInputError, match="seed must be an integer from -9223"):
        TorchGenerator(seed)


def test_an_integer_seed_counts_up_over_the_batch() -> None:
    assert image_seeds(7, 3) == (7, 8, 9)
    assert image_seeds(np.arange(1)[0], 1) == (0,)


def test_a_numpy_integer_is_one_seed() -> None:
    assert image_seeds(np.array(5), 2) == (5, 6)  # type: ignore[arg-type]


def test_a_list_of_seeds_is_taken_as_it_is() -> None:
    assert image_seeds([9, 0], 2) == (9, 0)


def test_no_seed_is_a_random_seed() -> None:
    assert image_seeds(None, 2) != image_seeds(None, 2)


def test_a_batch_that_counts_beyond_the_last_seed_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="seed must be"):
        image_seeds(2**64 - 1, 2)


def test_a_list_of_seeds_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="seed has 1 entry for 2 images"):
        image_seeds([1], 2)


def test_a_list_of_generators_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="generator has 1 entry for 2 images"):
        given_draws([TorchGenerator(0)], 2)


def test_a_generator_of_another_kind_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"generator is a numpy\.\S+Generator, expected"):
        given_draws(np.random.default_rng(), 1)


def test_every_picture_draws_its_own_noise_for_an_image_that_they_share() -> None:
    draws = Draws([SeedNoise(1), SeedNoise(2)])
    expected = [SeedNoise(seed).draw(SHAPE)[0] for seed in (1, 2)]
    np.testing.assert_array_equal(draws.of_images([0, 0], SHAPE[1:], masked=True), expected)


def test_one_generator_draws_once_an_image() -> None:
    draws = given_draws(TorchGenerator(1), 4)
    drawn = draws.of_images([0, 0, 1, 1], SHAPE[1:], masked=False)
    first, second = TorchGenerator(1).draw((2, *SHAPE[1:]))
    np.testing.assert_array_equal(drawn, [first, first, second, second])


def test_a_list_of_generators_draws_once_an_image_only_with_a_mask() -> None:
    own = [TorchGenerator(seed).draw(SHAPE)[0] for seed in (1, 2)]
    for masked, expected in ((False, own), (True, [own[0], own[0]])):
        draws = given_draws([TorchGenerator(1), TorchGenerator(2)], 2)
        np.testing.assert_array_equal(draws.of_images([0, 0], SHAPE[1:], masked), expected)
