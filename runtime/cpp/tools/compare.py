"""Times the C++ program beside the Python package, and prints one JSON document.

    python runtime/cpp/tools/compare.py build/trt-pipeline-cpp engines/shapes --backend openvino

Each runs in a process of its own, one after the other. Figures of a busy machine are rough.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

PROMPT = "a red circle"
CHILD = "--python-child"


def python_figures(options: argparse.Namespace) -> dict[str, Any]:
    """What `trt-pipeline-cpp --time` prints, of the Python package; imports count as opening."""
    started = time.perf_counter()
    from trt_pipeline import trt_pipeline

    pipe = trt_pipeline(options.bundle, backend=options.backend)
    opened = time.perf_counter()
    stamps: list[float] = []

    def stamped(steps: range) -> Any:
        for step in steps:
            stamps.append(time.perf_counter())
            yield step
        stamps.append(time.perf_counter())

    calls, step_seconds = [], []
    for _ in range(options.runs + 1):
        stamps.clear()
        start = time.perf_counter()
        pipe(
            PROMPT,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance_scale,
            seed=0,
            progress_bar=stamped,
        )
        calls.append(time.perf_counter() - start)
        step_seconds += [b - a for a, b in pairwise(stamps)]
    import resource

    warm = step_seconds[len(step_seconds) // len(calls) :]
    return {
        "backend": pipe.info.backend,
        "device": pipe.info.device,
        "batch": 1,
        "steps": options.steps,
        "guidance_scale": options.guidance_scale,
        "open_seconds": opened - started,
        "first_call_seconds": calls[0],
        "call_seconds": median(calls[1:]),
        "step_seconds": median(warm),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def median(values: list[float]) -> float:
    """The middle value, the upper one of two."""
    return sorted(values)[len(values) // 2]


def timed(command: list[str]) -> dict[str, Any]:
    """A process's figures, and its whole life from the outside."""
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return {**figures, "process_seconds": time.perf_counter() - started}


def cpp_command(options: argparse.Namespace) -> list[str]:
    """The C++ program with the same work."""
    command = [str(options.program), str(options.bundle), PROMPT, "--seed=0"]
    command += [f"--steps={options.steps}", f"--guidance-scale={options.guidance_scale}"]
    return [*command, f"--backend={options.backend}", f"--time={options.runs}"]


def main() -> None:
    """Run both and print their figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("program", type=Path, help="trt-pipeline-cpp")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance-scale", type=float, default=6.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(CHILD, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.python_child:
        sys.stdout.write(json.dumps(python_figures(options)) + "\n")
        return
    library = sorted(options.program.parent.glob("libtrt_pipeline.so.*.*"))
    document = {
        "cpp": timed(cpp_command(options)),
        "python": timed([sys.executable, __file__, *sys.argv[1:], CHILD]),
        "binary_bytes": {one.name: one.stat().st_size for one in [options.program, *library]},
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
