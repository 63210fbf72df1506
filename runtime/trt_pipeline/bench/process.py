"""CandidateProcess: a candidate's own process, as the one that asks it sees it."""

import json
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trt_pipeline.bench.candidate import CandidateSpec, Parts
from trt_pipeline.bench.workload import Workload
from trt_pipeline.closing import Closing
from trt_pipeline.errors import BackendError


class CandidateProcess(Closing):
    """Started at once; leaving its `with` ends it."""

    def __init__(self, spec: CandidateSpec, log: Path) -> None:
        """log: file that takes what the process prints."""
        self.name = spec.name
        self._log = log
        self._started = time.perf_counter()
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                spec.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._started

    def generate(self, workload: Workload, turn: int, pictures: Path) -> dict[str, Any]:
        """Make the pictures of a turn and write their pixels; what the worker says of the call.

        BackendError if the candidate fails.
        """
        return self._ask("generate", workload, turn, pictures)

    def parts(self, workload: Workload, turn: int) -> Parts:
        """Seconds of each part of a turn's call; BackendError if the candidate fails."""
        parts: Parts = self._ask("parts", workload, turn, None)["parts"]
        return parts

    def _ask(
        self, what: str, workload: Workload, turn: int, pictures: Path | None
    ) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        path = str(pictures) if pictures else None
        request = {
            "what": what,
            "workload": asdict(workload),
            "prompts": workload.prompts(turn),
            "pictures": path,
        }
        with suppress(BrokenPipeError):  # a process that ended answers nothing
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended; {self._log} says why"}
        if "error" in answer:
            raise BackendError(f"{self.name}: {answer['error']}")
        return dict(answer)

    def close(self) -> None:
        """End the process and wait for it."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            with suppress(BrokenPipeError):  # it ended before it read all
                stream.close()
        self._process.wait()
