"""Names of weight files, as diffusers and transformers write and look for them."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from trt_pipeline.errors import CheckpointError

INDEX = ".index.json"
"""How the name of an index of shards ends, before it has a variant."""
VARIANT = r"(?:(?!-\d{5}-of-)[\w-])+"
"""What may stand for a variant; a shard's number is not part of it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A weight file, or an index of shards."""

    name: str
    variant: str | None
    """None for a plain file."""


def choose(
    where: str, listing: Collection[str], names: Sequence[str], variant: str | None
) -> Choice:
    """The file that the reference would load from a folder; CheckpointError if there is none, or
    none without a choice.

    where: what messages call the folder. listing: its files. names: of plain files, the preferred
    one first. variant: None takes plain files, or the only variant if there are none.
    """
    if variant and (found := _first(listing, names, variant)):
        return Choice(found, variant)
    variants = sorted(_variants(listing, names))
    plain = _first(listing, names, None)
    if plain and not (variant and _claims(listing, variant)):
        return Choice(plain, None)
    if variant is None and len(variants) == 1:
        return Choice(_first(listing, names, variants[0]) or "", variants[0])
    raise CheckpointError(_missing(where, names, variant, variants))


def check_taken(where: str, asked: str | None, taken: Collection[str | None]) -> None:
    """CheckpointError if no part of a checkpoint has the variant that was asked for.

    taken: the variants of its parts.
    """
    if asked and asked not in taken:
        raise CheckpointError(f"{where} has no weights of the variant {asked}.")


def with_variant(name: str, variant: str | None) -> tuple[str, ...]:
    """The names of a plain file's variant: today's, then that of older indexes."""
    if variant is None:
        return (name,)
    stem, _, ending = name.rpartition(".")
    today = f"{stem}.{variant}.{ending}"
    if not name.endswith(INDEX):
        return (today,)
    return (today, f"{name.removesuffix(INDEX)}.{variant}{INDEX}")


def _first(listing: Collection[str], names: Sequence[str], variant: str | None) -> str | None:
    wanted = (one for name in names for one in with_variant(name, variant))
    return next((one for one in wanted if one in listing), None)


def _variants(listing: Collection[str], names: Sequence[str]) -> Iterator[str]:
    patterns = [
        re.escape(one).replace("VARIANT", f"({VARIANT})")
        for name in names
        for one in with_variant(name, "VARIANT")
    ]
    found = (re.fullmatch("|".join(patterns), one) for one in listing)
    yield from {str(match[match.lastindex or 0]) for match in found if match}


def _claims(listing: Collection[str], variant: str) -> bool:
    """Whether diffusers takes a folder for one that has a variant, by how its names go on."""
    return any("." in one and one.split(".")[1].startswith(variant) for one in listing)


def _missing(where: str, names: Sequence[str], variant: str | None, variants: list[str]) -> str:
    listed = ", ".join(name for name in names if not name.endswith(INDEX))
    if not variants:
        wanted = f" of the variant {variant}" if variant else ""
        return f"{where} has none of {listed}{wanted}. Download it again."
    asked = f"of the variant {variant}" if variant else "without a variant"
    return (
        f"{where} has no weights {asked}, but those of {' and '.join(variants)}. Choose with "
        "--variant."
    )
