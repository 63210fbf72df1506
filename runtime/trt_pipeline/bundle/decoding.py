"""JSON to dataclasses, strictly: what a field's type does not allow is refused by name."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Never, TypeVar, Union, cast, get_args, get_origin

from trt_pipeline.arguments import counted

T = TypeVar("T")

MAX_DEPTH = 32
"""Levels of lists and objects in an entry of any content."""
MAX_INTEGER = 2**64 - 1
UNIONS = (UnionType, Union)
"""What `X | None` is: the second where X is a Literal."""


def strict_json(text: str | bytes) -> object:
    """What JSON text says; ValueError also for NaN, infinities, repeated names and deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("not valid JSON: it is nested too deeply") from None


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"not valid JSON: it has {name} for a number")


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Readers differ in which of two entries of one name they take."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"entry {twice!r:.80} appears twice")
    return entries


def decode(kind: type[T], value: object, where: str, **given: object) -> T:
    """Make a dataclass of a JSON object; ValueError says which entry does not fit its type.

    where: what to call the value in the error. given: fields that do not come from the object.
    """
    entries = _object(value, where)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in entries:
        if name not in known or name in given:
            raise ValueError(f"{where} has an unknown entry {name!r:.80}")
    made = dict(given)
    for name, field in known.items():
        if name in entries:
            made[name] = _decode(field.type, entries[name], f"{where}.{name}")
        elif name not in made and field.default is MISSING:
            raise ValueError(f"{where}.{name} is missing")
    try:
        return kind(**made)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _decode(kind: Any, value: object, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return _tuple(inner, value, where)
    if origin is Mapping:
        return {
            _decode(inner[0], name, f"a name in {where}"): _decode(inner[1], one, f"{where}.{name}")
            for name, one in _object(value, where).items()
        }
    if origin in UNIONS and value is None and type(None) in inner:
        return None
    if origin in UNIONS and is_dataclass(inner[0]):
        return decode(_alternative(inner, value, where), value, where)
    if origin in UNIONS and get_origin(inner[0]) is Literal:
        return _decode(inner[0], value, where)
    if is_dataclass(kind):
        return decode(cast(type, kind), value, where)
    return _leaf(kind, origin, inner, value, where)


def _alternative(inner: tuple[Any, ...], value: object, where: str) -> type:
    """Of several dataclasses, the one that the entry `kind` names."""
    choices = [one for one in inner if is_dataclass(one)]
    if len(choices) == 1:
        return cast(type, choices[0])
    kinds = {str(one.__dataclass_fields__["kind"].default): one for one in choices}
    entries = _object(value, where)
    if "kind" not in entries:
        raise ValueError(f"{where}.kind is missing")
    kind = entries["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{where}.kind is {kind!r:.80}, expected {' or '.join(kinds)}")
    return cast(type, kinds[kind])


def _tuple(inner: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is {value!r:.80}, expected a list")
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(value) != len(inner):
        raise ValueError(
            f"{where} has {counted(len(value), 'entry', 'entries')}, expected {len(inner)}"
        )
    return tuple(
        _decode(kind, one, f"{where}[{number}]")
        for number, (kind, one) in enumerate(zip(inner, value, strict=True))
    )


def _leaf(kind: Any, origin: Any, inner: tuple[Any, ...], value: object, where: str) -> Any:
    if kind is Any:
        _check_depth(value, where)
        return value
    if origin is Literal:
        allowed = isinstance(value, str) and value in inner
        expected = " or ".join(map(str, inner))
    else:
        choices = inner if origin in UNIONS else (kind,)
        allowed = type(value) in choices or (float in choices and type(value) is int)
        expected = " or ".join(NAMES[choice] for choice in choices)
    if not allowed:
        raise ValueError(f"{where} is {value!r:.80}, expected {expected}")
    if type(value) is int and abs(value) > MAX_INTEGER:
        raise ValueError(f"{where} is more than {MAX_INTEGER}")
    return value


def _check_depth(value: object, where: str) -> None:
    """Level by level: what walks it later may do so by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    if level:
        raise ValueError(f"{where} is nested more than {MAX_DEPTH} levels deep")


NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    type(None): "null",
}


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r:.80}, expected an object")
    return value
