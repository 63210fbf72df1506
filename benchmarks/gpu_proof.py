"""The whole proof on one GPU: which flavour runs, whether it is right, how fast it is.

    python benchmarks/gpu_proof.py --work /tmp/gpu --json gpu.json

Makes the full-size twin, exports it, builds engines of the flavours that this GPU takes, runs the
tests marked gpu, and times. Each stage's answer is written as soon as there is one; a stage that
was done before in the same folder is not done again.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from rtx_answer import answers, usable
from trt_pipeline import load_bundle
from trt_pipeline.backends import BACKENDS
from trt_pipeline.backends.onnxruntime_cuda import provider_obstacle
from trt_pipeline.bench.machine import describe_machine
from trt_pipeline.bundle.manifest import Flavour
from trt_pipeline.errors import TrtPipelineError
from trt_pipeline.flavours import load_flavour

HERE = Path(__file__).parent
KEPT = 4000
"""Characters of a stage's output that the report keeps."""


@dataclass
class Proof:
    """What was found, stage by stage, and where it is written."""

    path: Path
    found: dict[str, Any] = field(default_factory=dict)

    def tell(self, stage: str, answer: Any) -> None:
        """Write an answer down at once."""
        self.found[stage] = answer
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.found, indent=1, default=str) + "\n")
        partial.replace(self.path)
        print(f"{stage}: {_short(answer)}", flush=True)

    def run(self, stage: str, command: Sequence[str | Path], limit: float, **env: str) -> bool:
        """Run a command unless it was done before; whether it ended well."""
        if self.found.get(stage, {}).get("status") == 0:
            return True
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=limit,
                env={**os.environ, **env},
                check=False,
            )
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            status, output = 124, (error.stdout or b"").decode(errors="replace")
        seconds = round(time.perf_counter() - started, 1)
        line = shlex.join(map(str, command))
        answer = {"status": status, "seconds": seconds, "command": line, "output": output[-KEPT:]}
        self.tell(stage, answer)
        return status == 0


def prove(proof: Proof, work: Path, batches: Sequence[int], limit: float) -> None:
    """Every stage; one that fails does not stop those that do not need it."""
    python = sys.executable
    work.mkdir(parents=True, exist_ok=True)
    proof.tell("machine", asdict(describe_machine()))
    flavours = _flavours(proof)
    twin, bundle = work / "twin", work / "bundle"
    if not twin.exists():
        proof.run("twin", [python, "-m", "trt_export.twin", twin, "--dtype", "fp16"], limit)
    export: list[str | Path] = [
        python,
        "-m",
        "trt_export",
        twin,
        "--out",
        bundle,
        "--max-batch",
        str(max(batches)),
    ]
    if not proof.run("export", export, limit):
        return
    for flavour in flavours:
        proof.run(f"build {flavour}", [*export, "--engines", flavour], limit)
    names = _gpu_backends(proof, bundle)
    if not names:
        return
    timing: list[str | Path] = [
        python,
        HERE / "latency.py",
        bundle,
        "--checkpoint",
        twin,
        "--backends",
    ]
    sizes: list[str | Path] = ["--batch", *map(str, batches), "--json", work / "latency.json"]
    if proof.run("latency", [*timing, *names, *sizes, "--cold-starts", "1"], limit):
        proof.tell("timings", json.loads((work / "latency.json").read_text()))
    tests: list[str | Path] = [
        python,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-q",
        "-rs",
        HERE.parent / "tests" / "gpu",
    ]
    proof.run("tests", tests, limit)
    for flavour, precision in product(flavours, ("bf16", "fp8", "int8")):
        # last, as these engines take the place of the others
        name = f"{flavour} {precision}"
        build = [*export, "--engines", flavour, "--engine-precision", precision]
        if proof.run(f"build {name}", build, limit):
            path = work / f"latency-{flavour}-{precision}.json"
            if proof.run(f"latency {name}", [*timing, flavour, "--json", path], limit):
                proof.tell(f"timings {name}", json.loads(path.read_text()))


def _flavours(proof: Proof) -> list[Flavour]:
    """Flavours of TensorRT whose plans this GPU takes."""
    taken: list[Flavour] = []
    try:
        found = answers()
        proof.tell("tensorrt_rtx", found)
        taken += ["tensorrt_rtx"] if usable(found) else []
    except (TrtPipelineError, RuntimeError, ImportError, OSError) as error:
        proof.tell("tensorrt_rtx", str(error))
    try:
        proof.tell("tensorrt", load_flavour("tensorrt").__version__)
        taken.append("tensorrt")
    except (TrtPipelineError, ImportError, OSError) as error:
        proof.tell("tensorrt", str(error))
    proof.tell("onnxruntime CUDA", provider_obstacle("CUDAExecutionProvider") or "available")
    return taken


def _gpu_backends(proof: Proof, bundle: Path) -> list[str]:
    """Those that can run the bundle here, the CPU's left out."""
    loaded = load_bundle(bundle, verify="manifest")
    asked = [name for name in BACKENDS if "tensorrt" in name or "cuda" in name]
    found = {
        name: import_module(f"trt_pipeline.backends.{name}").obstacle(loaded) or "runs"
        for name in asked
    }
    proof.tell("backends", found)
    return [name for name in asked if found[name] == "runs" and name != "onnxruntime_tensorrt"]


def _short(answer: Any) -> str:
    if isinstance(answer, dict) and "status" in answer:
        last = answer["output"].rstrip().splitlines()[-12:] if answer["output"] else []
        return "\n  ".join([f"status {answer['status']} in {answer['seconds']} s", *last])
    return json.dumps(answer, default=str)[:600]


def main() -> int:
    """0 if every stage that ran ended well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for twin, bundle and engines, 12 GB"
    )
    parser.add_argument(
        "--json", type=Path, required=True, help="report, also of a run to go on with"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--limit", type=float, default=420, help="seconds for each stage")
    arguments = parser.parse_args()
    before = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    proof = Proof(arguments.json, before)
    prove(proof, arguments.work, arguments.batch, arguments.limit)
    stages = [one for one in proof.found.values() if isinstance(one, dict) and "status" in one]
    return int(any(stage["status"] for stage in stages))


if __name__ == "__main__":
    raise SystemExit(main())
