"""Locking: one writer at a time for each folder or file."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trt_pipeline.durable import naming


@contextmanager
def one_at_a_time(target: Path, watch: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock of whoever writes to a target; say so once if another process has it.

    Errors of the system that name no file, such as a full disk's, name the target.
    """
    from filelock import FileLock, Timeout  # here, as its import takes long

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not Path(lock.lock_file).exists():  # then no process has it: it cannot be made
            raise PermissionError(
                errno.EACCES, "nothing can be written there", str(target)
            ) from None
        watch(f"wait for another process that writes to {target}")
        lock.acquire()
    try:
        with naming(target, target):
            yield
    finally:
        lock.release()
