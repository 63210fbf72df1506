"""Bounds of a configuration: a stranger's number must not cost minutes or gigabytes."""

from collections.abc import Iterator, Mapping
from typing import Any

MAX: Mapping[str, int] = {
    "encoder_layers": 256,
    "num_train_timesteps": 10_000,
    "sample_size": 1024,
}
"""Entry → the largest number in it: far more than any latent diffusion model has."""
MAX_LAYERS = 512
"""Levels times their layers times the transformers in each; Stable Diffusion XL has 60."""
MAX_VALUES = {"trained_betas": MAX["num_train_timesteps"]}
"""Entry → how many values it may have."""
MAX_OTHER_VALUES = 64
"""How many values any other list may have; nearly all have one for each of four levels."""


def check_bounds(config: Mapping[str, Any]) -> None:
    """ValueError for an entry out of bounds."""
    for name, entry in config.items():
        if isinstance(entry, list | tuple | int | float):
            _check(name, list(_values(entry)))
    layers = len(list(_values(config.get("block_out_channels", ()))))
    for name in ("layers_per_block", "transformer_layers_per_block"):
        layers *= max((one for one in _values(config.get(name)) if isinstance(one, int)), default=1)
    if layers > MAX_LAYERS:
        raise ValueError(
            "block_out_channels, layers_per_block and transformer_layers_per_block make "
            f"{layers!r:.80} layers, expected at most {MAX_LAYERS}"
        )


def _check(name: str, values: list[Any]) -> None:
    max_values = MAX_VALUES.get(name, MAX_OTHER_VALUES)
    if len(values) > max_values:
        raise ValueError(f"{name} has {len(values)} values, expected at most {max_values}")
    highest = MAX.get(name)
    for value in values:
        if highest is not None and isinstance(value, int | float) and value > highest:
            raise ValueError(f"{name} is {value!r:.80}, expected at most {highest}")


def _values(entry: Any) -> Iterator[Any]:
    """What is in a list of lists of any depth."""
    waiting = [entry]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting.extend(value)
        else:
            yield value
