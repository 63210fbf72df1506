"""YAML of strangers: plain data, read up to a bound, and its sections."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trt_export.checkpoint.files.texts import read_text
from trt_pipeline.errors import CheckpointError

MAX_YAML_BYTES = 2**15
"""Largest YAML that is read; the published model's has 1336 bytes."""
MAX_YAML_DEPTH = 32


class ShallowLoader(yaml.SafeLoader):
    """YAML of plain data without deep nesting, for which PyYAML recurses."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The node that comes next; YAMLError if it lies too deep."""
        if self.depth == MAX_YAML_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_YAML_DEPTH} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_yaml(path: Path) -> object:
    """A YAML's content; CheckpointError if it is not plain data."""
    try:
        return _plain_data(read_text(path, MAX_YAML_BYTES))
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is not YAML of plain data ({reason}).") from None


def _plain_data(text: str) -> object:
    loader = ShallowLoader(text)
    root = loader.get_single_node()
    if root is None:
        return None
    for count, _ in enumerate(_repeated(root)):
        if count == MAX_YAML_BYTES:
            raise yaml.YAMLError("a few aliases stand for more than a whole file could say")
    return loader.construct_document(root)


def _repeated(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node as often as aliases repeat it."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting.extend(one for pair in node.value for one in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def params_of(section: object, targets: Sequence[str], where: str) -> Mapping[str, Any]:
    """The params of a section; ValueError if it is for another class."""
    name = entry_of(section, "target", where)
    if not isinstance(name, str) or name.rpartition(".")[2] not in targets:
        raise ValueError(
            f"{where}.target is {name!r:.80}; only {' or '.join(targets)} can be exported"
        )
    return mapping_of(entry_of(section, "params", where), f"{where}.params")


def entry_of(section: object, name: str, where: str) -> object:
    """A section's entry; ValueError if there is none."""
    found = mapping_of(section, where)
    if name not in found:
        raise ValueError(f"{where} has no {name}")
    return found[name]


def mapping_of(value: object, where: str) -> Mapping[str, Any]:
    """A section; ValueError for anything else."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{where} is {value!r:.80}, expected names and values")
    return value
