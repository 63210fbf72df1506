"""Text files of strangers, read up to a bound."""

import json
from pathlib import Path
from typing import Any

from trt_pipeline.errors import CheckpointError

MAX_CONFIG_BYTES = 2**20
MAX_CONFIG_ENTRIES = 256


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


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; CheckpointError if it holds anything else."""
    try:
        content = json.loads(read_text(path, MAX_CONFIG_BYTES))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}). Download it again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} does not hold a JSON object. Download it again.")
    if len(content) > MAX_CONFIG_ENTRIES:
        raise CheckpointError(
            f"{path} has {len(content)} entries, expected at most {MAX_CONFIG_ENTRIES}."
        )
    return content
