"""Checkpoints of the Hugging Face hub: what is downloaded of them, and no more."""

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from trt_export.checkpoint.configs.model_index import INDEX, check_index, family_of, folder_of
from trt_export.checkpoint.files.texts import read_object
from trt_export.checkpoint.files.weight_names import Choice, check_taken, choose
from trt_export.checkpoint.files.weights import read_index
from trt_export.families import DIFFUSERS_WEIGHTS, Part, Role
from trt_pipeline.errors import CheckpointError

Parts: TypeAlias = Mapping[Role, Part]
NONE: Parts = {}


def from_hub(model: str, variant: str | None, download: bool, added: Parts = NONE) -> Path:
    """The folder that holds a model of the hub; CheckpointError if it cannot be had.

    variant: of the weight files. download: whether it may be downloaded now. added: parts that are
    wanted besides those of the model's family.
    """
    looks_like_id = re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not model.startswith((".", "/"))
    if not looks_like_id or model.endswith((".ckpt", ".safetensors")):
        raise CheckpointError(
            f"{model} is neither a folder nor a file here, and not a hub id. "
            "Give a diffusers folder, a .ckpt file, or an id such as CompVis/ldm-text2im-large-256."
        )
    try:
        return _complete(model, variant, added) if download else _cached(model, variant, added)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{model} is not a folder here and cannot be downloaded from the hub: "
            f"{_first_line(error)}"
        ) from error


def part_from_hub(model: str, download: bool) -> Path:
    """The folder that holds one network of the hub; CheckpointError if it cannot be had."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                model,
                allow_patterns=["config.json", "README.md", *DIFFUSERS_WEIGHTS],
                local_files_only=not download,
            )
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{model} is not a folder here and cannot be downloaded from the hub: "
            f"{_first_line(error)}"
        ) from error


def _cached(model: str, variant: str | None, added: Parts) -> Path:
    """What was downloaded before; CheckpointError if weights are not among it."""
    from huggingface_hub import hf_hub_download

    try:
        snapshot = Path(hf_hub_download(model, INDEX, local_files_only=True)).parent
        listing = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*")]
        _choices(model, snapshot, listing, variant, added)
    except (OSError, ValueError, CheckpointError) as error:
        raise CheckpointError(
            f"{model} is not downloaded yet; without --dry-run, it would be."
        ) from error
    return snapshot


def _complete(model: str, variant: str | None, added: Parts) -> Path:
    """The newest snapshot, with every file that an export reads."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        snapshot = Path(hf_hub_download(model, INDEX)).parent
    except LocalEntryNotFoundError:  # no network, and nothing in the cache
        raise
    except EntryNotFoundError as error:
        raise CheckpointError(
            f"{model} is not a diffusers checkpoint: it has no {INDEX}."
        ) from error
    check_index(snapshot, family_of(snapshot))
    _download(model, snapshot, variant, added)
    return snapshot


def _download(model: str, snapshot: Path, variant: str | None, added: Parts) -> None:
    """Complete a snapshot, whose folder the hub's client names by its revision."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        listing = HfApi().list_repo_files(model, revision=snapshot.name)
    except Exception as error:  # the errors of requests, httpx or httpx2, by the client's version
        reason = _first_line(error)
        warnings.warn(f"{model}: taken as downloaded before ({reason:.200}).", stacklevel=4)
        return
    needed = list(_needed(model, snapshot, listing, variant, added))
    snapshot_download(model, revision=snapshot.name, allow_patterns=needed)


def _needed(
    model: str, snapshot: Path, listing: list[str], variant: str | None, added: Parts
) -> Iterator[str]:
    """The files that an export reads, by their names in the repository."""
    index = read_object(snapshot / INDEX)
    yield from (INDEX, "README.md")
    for part in _parts(snapshot, added):
        folder = folder_of(part, index)
        names = [part.config] if part.weights else ["*.json", "*.txt"]
        yield from (f"{folder}/{name}" for name in names)
    for folder, choice in _choices(model, snapshot, listing, variant, added).items():
        yield from _weights(model, snapshot, f"{folder}/{choice.name}")


def _choices(
    model: str, snapshot: Path, listing: list[str], variant: str | None, added: Parts
) -> dict[str, Choice]:
    """Folder of a part → its weights; CheckpointError if one has none."""
    chosen, index = {}, read_object(snapshot / INDEX)
    for part in _parts(snapshot, added):
        folder = folder_of(part, index)
        names = [one.removeprefix(f"{folder}/") for one in listing if one.startswith(f"{folder}/")]
        if part.weights:
            chosen[folder] = choose(f"{model}/{folder}", names, part.weights, variant)
    check_taken(model, variant, {choice.variant for choice in chosen.values()})
    return chosen


def _parts(snapshot: Path, added: Parts) -> list[Part]:
    return [*family_of(snapshot).parts.values(), *added.values()]


def _weights(model: str, snapshot: Path, name: str) -> Iterator[str]:
    """A file of weights, or an index and the shards that it names."""
    from huggingface_hub import hf_hub_download

    yield name
    if name.endswith(".json"):
        path = Path(hf_hub_download(model, name, revision=snapshot.name))
        folder = name.rpartition("/")[0]
        yield from {f"{folder}/{shard.name}" for shard in read_index(path).values()}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
