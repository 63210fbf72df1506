"""Faults: a process that ends, or whose calls fail, at its k-th write, sync, rename or removal.

Writes are torn: half of the data arrives. A process that ends takes its buffers with it, as a kill
does; calls that fail go on failing, as they do on a full or a dying disk.
"""

import builtins
import errno
import io
import multiprocessing
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

FAILED, UNEXPECTED, KILLED = 1, 70, 137
"""Exit statuses."""
CALLS = ("fsync", "mkdir", "rename", "replace", "rmdir", "sendfile", "unlink")

CLEAN = multiprocessing.get_context("forkserver")
"""Where processes come from: what is forked off a process with threads of ONNX Runtime or of
PyTorch, such as the tests' own, can crash."""
CLEAN.set_forkserver_preload(
    ["tests.faults.scenes", "trt_export.onnx_graphs.tracing", "trt_export.quantization.bundles"]
)

Work = Callable[[], object]
"""A function of a module, or a partial of one: it is pickled."""


@dataclass
class Fault:
    """What happens at which call."""

    kind: str
    """kill, or the name of an error such as ENOSPC."""
    at: int
    """The first call that it happens to, counted from 0."""
    passed: int = 0

    def strike(self, torn: Work = lambda: None) -> None:
        """Count one call; from the chosen one on, leave it half done."""
        self.passed += 1
        if self.passed > self.at:
            torn()
            if self.kind == "kill":
                os._exit(KILLED)
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code))


def outcomes(
    kind: str, every: int, prepare: Callable[[], Work], check: Callable[[int], None]
) -> int:
    """Do some work once for every so many-th call that a fault of this kind can happen to.

    prepare: sets the scene and gives the work, which is done in a process of its own.
    check: called with the process's exit status. The first call that does not happen any more.
    """
    for at in count(0, every):
        status = _in_a_child(prepare(), Fault(kind, at))
        check(status)
        if status == 0:
            return at
    raise AssertionError("a count has no end")


def _in_a_child(work: Work, fault: Fault) -> int:
    child = CLEAN.Process(target=_strike, args=(work, fault))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _strike(work: Work, fault: Fault) -> None:
    try:
        install(fault)
        work()
    except OSError as error:
        nameless = error.errno and not error.filename  # which disk is full?
        if nameless:
            traceback.print_exc()
        os._exit(UNEXPECTED if nameless else FAILED)
    except BaseException:
        traceback.print_exc()
        os._exit(UNEXPECTED)
    os._exit(0)


def install(fault: Fault) -> None:
    """Put a fault between this process and its files."""
    for name in CALLS:
        setattr(os, name, _faulty(getattr(os, name), fault))
    io.open = builtins.open = _faulty_open(fault)


def _faulty(call: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    def with_fault(*args: Any, **keywords: Any) -> Any:
        fault.strike()
        return call(*args, **keywords)

    return with_fault


def _faulty_open(fault: Fault) -> Callable[..., Any]:
    plain = io.open

    class TornFile(io.FileIO):
        def write(self, data: Any) -> int:
            content = bytes(data)
            fault.strike(lambda: super(TornFile, self).write(content[: len(content) // 2]))
            return super().write(content)

    def open_with_faults(file: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
        if isinstance(file, int) or not {*mode} & {*"wxa+"}:
            return plain(file, mode, *args, **keywords)
        raw = TornFile(file, mode.replace("b", ""))
        binary = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary)

    return open_with_faults
