"""Text files of strangers, read up to a bound."""

import json
from pathlib import Path
from typing import Any

from trt_pipeline.errors import CheckpointError

MAX_CONFIG_BYTES = 2**20
MAX_CONFIG_ENTRIES = 256
MAX_CONFIG_DEPTH = 32


def read_text(path: Path, max_bytes: int) -> str:
    """A file's text; CheckpointError for a larger file, ValueError if it is not UTF-8."""
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > max_bytes:
        raise CheckpointError(f"{path} is larger than {max_bytes} bytes; refused.")
    return content.decode()


def read_object(
    path: Path, max_bytes: int = MAX_CONFIG_BYTES, max_entries: int = MAX_CONFIG_ENTRIES
) -> dict[str, Any]:
    """The JSON object in a file; CheckpointError if it holds anything else."""
    try:
        content = json.loads(read_text(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}). Download it again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object. Download it again.")
    if len(content) > max_entries:
        raise CheckpointError(f"{path} has {len(content)} entries, expected at most {max_entries}.")
    if _is_deep(content):
        raise CheckpointError(
            f"{path} nests its entries more than {MAX_CONFIG_DEPTH} deep; refused."
        )
    return content


def _is_deep(content: Any) -> bool:
    level = [content]
    for _ in range(MAX_CONFIG_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return list(inner) if isinstance(value, dict | list) else []
