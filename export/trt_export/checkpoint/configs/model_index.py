"""model_index.json: the pipeline's class, and the library and class of each of its parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trt_export.checkpoint.files.texts import read_object
from trt_export.families import Family, Part, families
from trt_pipeline.errors import CheckpointError

INDEX = "model_index.json"
DEFAULT_CHANNELS = 4
"""Of a UNet2DConditionModel that states none."""
HARMLESS = {
    "force_zeros_for_empty_prompt": "Stable Diffusion XL reads it",
    "requires_safety_checker": "Stable Diffusion warns with it",
}
"""Entry that is not a part → why it changes no picture."""


def family_of(path: Path) -> Family:
    """The family whose pipeline a folder's model_index.json names; CheckpointError for others."""
    index, found = read_object(path / INDEX), families().values()
    pipeline = str(index.get("_class_name"))
    named = [family for family in found if pipeline in family.pipelines]
    if not named:
        known = dict.fromkeys(name for family in found for name in family.pipelines)
        raise CheckpointError(
            f"{path} is a {pipeline:.80}; only {', '.join(known)} can be exported."
        )
    named.sort(key=lambda family: family.pipeline != pipeline)
    return named[0] if len(named) == 1 else _fitting(path, index, named)


def _fitting(path: Path, index: Mapping[str, Any], named: Sequence[Family]) -> Family:
    """The family that the UNet's configuration tells, which may not be downloaded yet; the first if
    it tells none of them."""
    part = named[0].parts["unet"]
    config = path / folder_of(part, index) / part.config
    unet = read_object(config) if config.is_file() else {}
    return next((family for family in named if _fits(family, unet)), named[0])


def _fits(family: Family, unet: Mapping[str, Any]) -> bool:
    given, made = (unet.get(name, DEFAULT_CHANNELS) for name in ("in_channels", "out_channels"))
    joins = isinstance(made, int) and given == made + family.condition_channels(made)
    return joins and (unet.get("time_cond_proj_dim") is not None) == family.embeds_guidance


def folder_of(part: Part, index: Mapping[str, Any]) -> str:
    """The name that model_index.json has for a part; its usual one if there is none."""
    return next((name for name in part.folders if not _is_null(index.get(name))), part.folder)


def check_index(path: Path, family: Family) -> None:
    """CheckpointError for a part that is missing or not the one expected, and for an entry that
    the family does not have."""
    index = read_object(path / INDEX)
    for name, reason in family.refused.items():
        if index.get(name):
            raise CheckpointError(f"{path / INDEX}: {name} is {index[name]!r:.80}: {reason}.")
    for part in family.parts.values():
        _check_part(path, part, index)
    for name, entry in index.items():
        _check_known(path, family, name, entry)


def _check_part(path: Path, part: Part, index: Mapping[str, Any]) -> None:
    named = [name for name in part.folders if not _is_null(index.get(name))]
    if len(named) != 1:
        names = " and ".join(named) or f"no {' or '.join(part.folders)}"
        raise CheckpointError(f"{path / INDEX} names {names}, expected one part of that kind.")
    name, entry = named[0], index[named[0]]
    if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(e, str) for e in entry)):
        raise CheckpointError(
            f"{path / INDEX}: {name} is {entry!r:.80}, expected a library and a class."
        )
    library, kind = entry
    if part.classes and kind not in part.classes:
        raise CheckpointError(
            f"{path}: {name} is a {kind:.80}; only {' or '.join(part.classes)} can be exported."
        )
    if library != part.library or (path / name / f"{library}.py").exists():
        raise CheckpointError(
            f"{path / INDEX}: the {kind:.80} of {name} comes from {library:.80}, expected "
            f"{part.library}. Code that comes with a checkpoint is never run."
        )


def _check_known(path: Path, family: Family, name: str, entry: Any) -> None:
    """diffusers ignores entries that are private, null or not its pipeline's."""
    is_part = any(name in part.folders for part in family.parts.values())
    if (
        is_part
        or name in family.unread
        or name in HARMLESS
        or name in family.refused
        or name.startswith("_")
        or _is_null(entry)
    ):
        return
    raise CheckpointError(
        f"{path / INDEX}: {name:.80} is {entry!r:.80}, but a {family.pipeline} has no such part. "
        "Remove the entry if pictures do not need it."
    )


def _is_null(entry: Any) -> bool:
    """Whether a part is left out; pipelines write [null, null] for it."""
    return entry is None or (isinstance(entry, list) and not any(entry))
