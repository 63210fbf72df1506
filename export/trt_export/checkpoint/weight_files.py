"""Weight files at a glance: what can be told without reading the weights or importing torch."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from trt_pipeline.errors import CheckpointError

PICKLES = (b"PK\x03\x04", b"\x80\x02")
"""How files of torch.save begin: archives, and the pickles of releases before 1.6."""


def check_weight_file(path: Path) -> None:
    """CheckpointError if a file cannot be one of tensors, or holds less than its header says."""
    try:
        if path.suffix == ".safetensors":
            safe_open(path, framework="numpy")  # compares the header with the file's size
            return
        with path.open("rb") as stream:
            beginning = stream.read(4)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is damaged or incomplete ({error}). Download it again."
        ) from None
    if not beginning.startswith(PICKLES):
        raise CheckpointError(f"{path} is no file of tensors. Download it again.")
