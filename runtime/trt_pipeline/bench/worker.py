"""The process of one candidate: opens it, answers requests on stdin with lines on stdout.

python -m trt_pipeline.bench.worker MODULE:FUNCTION ARGUMENTS

The function opens the candidate with the arguments, a JSON object. Requests and answers are JSON
objects, one a line; a failure is answered with its "error".
"""

import json
import os
import sys
import time
import traceback
from importlib import import_module
from typing import Any, TextIO

import numpy as np

from trt_pipeline.bench.candidate import Candidate
from trt_pipeline.bench.usage import Nvml, peak_host_bytes
from trt_pipeline.bench.workload import Workload


def worker_command(opener: str, arguments: dict[str, Any]) -> tuple[str, ...]:
    """What starts a worker. opener: module:function; arguments: JSON values."""
    return (sys.executable, "-m", __name__, opener, json.dumps(arguments))


def main() -> None:
    """Serve until stdin ends; the first request opens the candidate."""
    opener, arguments = sys.argv[1:]
    candidate: Candidate | None = None
    nvml = Nvml()
    with _own_stdout() as answers:
        for line in sys.stdin:
            try:
                candidate = candidate or _open(opener, json.loads(arguments))
                content = answer(candidate, nvml, json.loads(line))
            except Exception as error:
                traceback.print_exc()
                content = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(content) + "\n")
            answers.flush()


def _open(opener: str, arguments: dict[str, Any]) -> Candidate:
    module, _, function = opener.partition(":")
    candidate: Candidate = getattr(import_module(module), function)(**arguments)
    return candidate


def answer(candidate: Candidate, nvml: Nvml, request: dict[str, Any]) -> dict[str, Any]:
    """Make the pictures of one request, or time the parts of such a call."""
    workload, prompts = Workload(**request["workload"]), request["prompts"]
    if request["what"] == "parts":
        return {"parts": candidate.parts(workload, prompts)}
    before = nvml.joules()
    started, computed = time.perf_counter(), time.process_time()
    pixels = candidate.generate(workload, prompts)
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - computed
    after = nvml.joules()
    np.save(request["pictures"], pixels)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "joules": None if before is None or after is None else after - before,
        "host_bytes": peak_host_bytes(),
        "device_bytes": nvml.device_bytes(),
        "device": candidate.device,
        "arithmetic": candidate.arithmetic,
    }


def _own_stdout() -> TextIO:
    """The stdout this process was given; what else prints there goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
