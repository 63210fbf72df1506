"""A cache that forgets what was used least recently."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


class ArrayCache:
    """Arrays by key, at most max_bytes of them; safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._arrays: OrderedDict[bytes, Array] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes, make: Callable[[], Array]) -> Array:
        """The array of this key, made now unless it is held. Read-only, since calls share it."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = make()
        array.flags.writeable = False
        self._put(key, array)
        return array

    def _put(self, key: bytes, array: Array) -> None:
        with self._lock:
            if key in self._arrays:  # another thread was faster
                return
            self._arrays[key] = array
            self._bytes += array.nbytes
            while self._bytes > self._max_bytes:
                _, oldest = self._arrays.popitem(last=False)
                self._bytes -= oldest.nbytes
