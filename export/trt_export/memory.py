"""Memory that is free again goes back to the system."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Give back what was freed. glibc keeps most tensors' memory for later ones, so that a stage
    would have the memory of the stage before it beside its own."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's only
        if trim:
            trim(0)
