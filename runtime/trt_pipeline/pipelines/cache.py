"""A cache that forgets what was used least recently."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeAlias

from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""Such as the outputs of a graph."""


class ArrayCache:
    """Named arrays by key, at most max_bytes of them; safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[bytes, Arrays] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of this key, made now unless they are held. Read-only, since calls share
        them."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        arrays = make()
        for array in arrays.values():
            array.flags.writeable = False
        self._put(key, arrays)
        return arrays

    def _put(self, key: bytes, arrays: Arrays) -> None:
        with self._lock:
            if key in self._held:  # another thread was faster
                return
            self._held[key] = arrays
            self._bytes += _bytes(arrays)
            while self._bytes > self._max_bytes:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= _bytes(oldest)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
