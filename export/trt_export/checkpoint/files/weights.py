"""Weight files of a part, and a first check without reading the weights or importing torch."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trt_export.checkpoint.files.tensors import opened
from trt_export.checkpoint.files.texts import read_object
from trt_export.checkpoint.files.weight_names import choose
from trt_pipeline.errors import CheckpointError

PICKLES = (b"PK\x03\x04", b"\x80\x02")
"""How files of torch.save begin: archives, and the pickles of releases before 1.6."""
SHARD = re.compile(r"\w[\w.-]{0,250}", re.ASCII)
"""A name that leads nowhere but into its own folder."""


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """Where the weights of a part lie."""

    paths: tuple[Path, ...]
    """One file, or the shards in the order of their names."""
    index: Path | None = None
    placed: Mapping[str, Path] = field(default_factory=dict)
    """Tensor → its shard, as the index says."""
    variant: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read."""
        return (self.index, *self.paths) if self.index else self.paths

    def check_shard(self, path: Path, found: Collection[str]) -> None:
        """CheckpointError if a shard holds other tensors than the index says."""
        expected = {name for name, shard in self.placed.items() if shard == path}
        if self.index and (differing := differences(expected, found)):
            raise CheckpointError(
                f"{path} does not fit {self.index.name}: of {len(expected)} weights, {differing}. "
                "Download both again."
            )


def find_weights(folder: Path, names: Sequence[str], variant: str | None) -> WeightFiles:
    """The weights that the reference would load; CheckpointError if there are none."""
    listing = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    choice = choose(str(folder), listing, names, variant)
    path = folder / choice.name
    if path.suffix != ".json":
        return WeightFiles((path,), variant=choice.variant)
    placed = read_index(path)
    return WeightFiles(tuple(sorted(set(placed.values()))), path, placed, choice.variant)


def read_index(path: Path) -> dict[str, Path]:
    """Tensor → its shard; CheckpointError for an index that names anything but files beside it."""
    placed = read_object(path).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(f"{path} has no weight_map of its shards. Download it again.")
    suffix = ".safetensors" if ".safetensors." in path.name else ".bin"
    for tensor, shard in placed.items():
        if not (isinstance(shard, str) and SHARD.fullmatch(shard) and shard.endswith(suffix)):
            raise CheckpointError(
                f"{path}: {tensor:.80} lies in {shard!r:.80}, expected the plain name of a "
                f"{suffix} file beside the index; refused."
            )
    return {tensor: path.with_name(shard) for tensor, shard in placed.items()}


def check_weights(weights: WeightFiles) -> None:
    """CheckpointError if a file cannot hold tensors, or holds less than its header or its index
    says."""
    for path in weights.paths:
        names = _check_file(path)
        if names is not None:
            weights.check_shard(path, names)


def _check_file(path: Path) -> list[str] | None:
    """The names of its tensors; None for a pickle, which has no header that says so."""
    if path.suffix == ".safetensors":
        with opened(path) as file:
            return list(file.keys())
    try:
        with path.open("rb") as stream:
            beginning = stream.read(4)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not beginning.startswith(PICKLES):
        raise CheckpointError(f"{path} is not a file of tensors. Download it again.")
    return None


def differences(expected: Collection[str], found: Collection[str]) -> str:
    """How names differ from those expected, in words; empty if they don't."""
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    listed = [f"{len(missing)} missing (first: {missing[0]})"] if missing else []
    listed += [f"{len(unknown)} unknown (first: {unknown[0]})"] if unknown else []
    return " and ".join(listed)
