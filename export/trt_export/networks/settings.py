"""What the settings of diffusers' classes may be: rules as data, and who breaks one by name."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Rule:
    """What a setting may be."""

    wanted: str
    """In words that follow "only" and precede "can be exported"."""
    holds: Callable[[Any], bool]


Rules: TypeAlias = Mapping[str, Rule]
"""Setting → its rule."""

MAX_CHANNELS = 2**16
"""Far more than any layer of a latent diffusion model has."""


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold, and finite; a boolean is not."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def only(*values: Any) -> Rule:
    """One of some values; a number is not taken for a boolean."""
    known = [(type(value), value) for value in values]
    return Rule(
        _listed(map(repr, values)),
        lambda value: (type(value), value) in known,
    )


def names(*allowed: str) -> Rule:
    """A list of one or more names."""
    return Rule(
        f"a list of {_listed(map(repr, allowed))}",
        lambda value: _is_list(value) and all(one in allowed for one in value),
    )


def whole(low: int, high: int) -> Rule:
    """A whole number."""
    return Rule(
        f"a whole number from {low} to {high}",
        lambda value: _is_whole(value) and low <= value <= high,
    )


def odd(high: int) -> Rule:
    """An odd whole number: the kernels of convolutions that keep the size."""
    return Rule(
        f"an odd whole number from 1 to {high}",
        lambda value: _is_whole(value) and 1 <= value <= high and value % 2 == 1,
    )


def number(low: float, high: float) -> Rule:
    """A number between two others, or one of them."""
    return Rule(
        f"a number from {low} to {high}",
        lambda value: is_number(value) and low <= value <= high,
    )


def optional(rule: Rule) -> Rule:
    """What a rule allows, or None."""
    return Rule(f"{rule.wanted} or None", lambda value: value is None or rule.holds(value))


def list_of(rule: Rule, most: int = 64) -> Rule:
    """A list of one or more values, each as a rule allows."""
    return Rule(
        f"a list of 1 to {most} values that are each {rule.wanted}",
        lambda value: _is_list(value) and len(value) <= most and all(map(rule.holds, value)),
    )


def or_list(rule: Rule) -> Rule:
    """What a rule allows, or a list of it."""
    listed = list_of(rule)
    return Rule(
        f"{rule.wanted}, or a list of them,",
        lambda value: rule.holds(value) or listed.holds(value),
    )


def per_level(rule: Rule) -> Rule:
    """What a rule allows, or a list of it; check_lengths counts the values."""
    return Rule(f"{rule.wanted}, or a list of one for each level,", or_list(rule).holds)


FLAG = only(False, True)
POSITIVE = Rule("a positive number", lambda value: is_number(value) and value > 0)
CHANNELS = whole(1, MAX_CHANNELS)
LEVELS = list_of(CHANNELS, most=8)
"""Channels of each level. Every level halves a picture, so more would need enormous ones."""
PROBABILITY = number(0, 1)
HARMLESS = Rule("", lambda _: True)
"""Nothing that an export makes depends on it."""


def settings_of(kind: type) -> dict[str, Any]:
    """The settings of a class, with their defaults."""
    parameters = inspect.signature(kind).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {one.name: one.default for one in parameters if one.kind in named}


def check_settings(kind: type, config: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    """Every setting of a class, with its defaults; ValueError names one that breaks its rule."""
    defaults = settings_of(kind)
    settings = {name: config.get(name, defaults[name]) for name in rules if name in defaults}
    for name, value in settings.items():
        if not rules[name].holds(value):
            wanted = rules[name].wanted
            raise ValueError(f"{name} is {value!r:.80}; only {wanted} can be exported")
    return settings


def check_lengths(settings: Mapping[str, Any], listed: Iterable[str]) -> None:
    """ValueError for a list that has not one value for each of block_out_channels."""
    levels = len(settings["block_out_channels"])
    for name in listed:
        value = settings[name]
        if _is_list(value) and len(value) != levels:
            raise ValueError(
                f"{name} has {len(value)} values, expected {levels}: one for each of "
                "block_out_channels"
            )


def check_divisible(settings: Mapping[str, Any], groups: str, channels: Sequence[int]) -> None:
    """ValueError for a number of groups into which the channels cannot be divided."""
    if any(one % settings[groups] for one in channels):
        raise ValueError(
            f"{groups} is {settings[groups]}, but not all channels are divisible by it: "
            f"block_out_channels is {list(settings['block_out_channels'])}"
        )
