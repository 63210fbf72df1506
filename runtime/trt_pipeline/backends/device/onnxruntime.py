"""ONNX Runtime on a device: inputs and outputs bound to fixed addresses.

The execution provider captures a CUDA graph of its own for each set of shapes, on the first run.
A recording of ours over several runs is not to be had: releases up to 1.32 replay their graph, or
free pinned memory, inside it, and both end a capture (microsoft/onnxruntime pull request 32081).
"""

import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from trt_pipeline.backends.device.failures import device_error
from trt_pipeline.backends.device.layout import Tensor
from trt_pipeline.backends.device.memory import Device
from trt_pipeline.errors import MissingDependencyError

logger = logging.getLogger(__name__)

MOST_CAPTURED = 12
"""CUDA graphs a session captures; ONNX Runtime frees them with the session only."""
UNCAPTURED = -1
"""ONNX Runtime's number for a run that is not captured."""

Providers: TypeAlias = list[tuple[str, dict[str, str]]]


class OnnxRuntimeProgram:
    """One session."""

    def __init__(self, name: str, session: Any, device: Device, runtime: Any) -> None:
        self._name = name
        self._session = session
        self._device = device
        self._runtime = runtime
        self._captured = 0

    def executor(self, tensors: Mapping[str, Tensor]) -> "OnnxRuntimeExecutor":
        """Prepare for a set of shapes; the first ones are captured."""
        number = UNCAPTURED
        if self._captured < MOST_CAPTURED:
            self._captured += 1
            number = self._captured
        elif self._captured == MOST_CAPTURED:
            self._captured += 1
            logger.info("%s: further shapes run without a CUDA graph", self._name)
        options = self._runtime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return OnnxRuntimeExecutor(self._name, self._session, tensors, self._device.kind, options)


class OnnxRuntimeExecutor:
    """One session for one set of shapes; its addresses must not change once it has run."""

    moves = False

    def __init__(
        self, name: str, session: Any, tensors: Mapping[str, Tensor], kind: str, options: Any
    ) -> None:
        self._name = name
        self._session = session
        self._tensors = tensors
        self._kind = kind
        self._options = options
        self._inputs = {node.name for node in session.get_inputs()}
        self._binding = session.io_binding()

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Say where every input and output lies."""
        for name, address in addresses.items():
            tensor = self._tensors[name]
            bind = self._binding.bind_input if name in self._inputs else self._binding.bind_output
            bind(name, self._kind, 0, tensor.dtype.type, tensor.shape, address)

    def enqueue(self) -> None:
        """Run without waiting; BackendError if that fails."""
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except Exception as error:
            raise device_error(self._name, error) from error

    def obstacle_to_recording(self) -> str | None:
        """Always one; see the top of this file."""
        return "ONNX Runtime captures its own CUDA graph for each run"


def open_session(runtime: Any, path: Any, providers: Providers, what: str) -> Any:
    """A session on the first of the providers; BackendError if it can't be had."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are about shape nodes, which belong on CPUs
    try:
        session = runtime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise device_error(what, error) from error
    used = session.get_providers()
    if used[0] != providers[0][0]:
        raise MissingDependencyError(
            f"{what}: ONNX Runtime cannot load {providers[0][0]}, only {', '.join(used)}. Install "
            'its CUDA libraries with: pip install "onnxruntime-gpu[cuda,cudnn]"'
        )
    return session
