"""Latency of a bundle on every backend beside diffusers and plain exports of the same weights.

    python benchmarks/latency.py engines/shapes --json benchmarks/results/shapes.json

docs/explanation/benchmarks.md says what is measured and how.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from peers import PEERS, default_peers, peer_specs
from roofline import measure_limit
from trt_export.checkpoint.opening import EMBEDDED
from trt_pipeline.backends import BACKENDS
from trt_pipeline.bench.candidate import CandidateSpec
from trt_pipeline.bench.command import runnable_backends, watched
from trt_pipeline.bench.machine import describe_machine
from trt_pipeline.bench.ours import our_spec
from trt_pipeline.bench.report import Report
from trt_pipeline.bench.rounds import Plan
from trt_pipeline.bench.table import lines
from trt_pipeline.bench.verification import load_verified
from trt_pipeline.bench.workload import Workload
from trt_pipeline.errors import TrtPipelineError

HERE = Path(__file__).parent


def run(arguments: argparse.Namespace) -> Report:
    """Measure what the command line asks for."""
    bundle, verification = load_verified(arguments.bundle)
    backends = runnable_backends(bundle) if arguments.backends is None else arguments.backends
    batches = arguments.batch
    workload = Workload(1, arguments.steps, arguments.guidance_scale, arguments.eta)
    with TemporaryDirectory() as folder:
        rows = watched(
            _specs(arguments, backends, arguments.work or Path(folder)),
            Plan(
                [replace(workload, batch=batch) for batch in batches],
                arguments.rounds,
                arguments.cold_starts,
                arguments.alone,
                arguments.warm_up_calls,
                arguments.warm_up_steps,
            ),
        )
    limit = measure_limit(bundle, batches, arguments.threads)
    return Report(bundle.model.name, describe_machine(), rows, limit, verification)


def _specs(
    arguments: argparse.Namespace, backends: Sequence[str], work: Path
) -> list[CandidateSpec]:
    bundle, checkpoint, threads = str(arguments.bundle), arguments.checkpoint, arguments.threads
    peers = default_peers(checkpoint) if arguments.peers is None else arguments.peers
    specs = peer_specs(peers, checkpoint, work, threads)
    for name in backends:
        specs.append(our_spec(bundle, name, threads))
        if arguments.cpp:
            specs.append(_cpp_spec(arguments.cpp, bundle, name, threads))
    return specs


def _cpp_spec(program: Path, bundle: str, backend: str, threads: int) -> CandidateSpec:
    """The C++ runtime: runtime/cpp/benchmark, built with TRT_PIPELINE_BENCHMARK."""
    arguments = {"bundle": bundle, "backend": backend, "threads": threads}
    return CandidateSpec(f"{backend}, C++", (str(program), json.dumps(arguments)))


def main() -> None:
    """Print the table; write JSON and plots where asked for."""
    arguments = _parser().parse_args()
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), inherited]))
    try:
        report = run(arguments)
    except TrtPipelineError as error:
        sys.exit(f"error: {error}")
    print("\n".join(lines(report)))
    if arguments.json:
        report.write(arguments.json)
    if not any(row.seconds for row in report.rows):
        sys.exit("error: nothing could be measured")
    if arguments.plots:
        from latency_plots import draw_all

        draw_all(report, arguments.plots)


def _program(name: str) -> Path:
    path = Path(name).absolute()
    if not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"{name} is not a program")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--checkpoint", type=Path, default=EMBEDDED, help="what the bundle was exported from"
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=10, help="timed calls of each candidate")
    parser.add_argument("--cold-starts", type=int, default=3, help="new processes of each")
    parser.add_argument("--warm-up-calls", type=int, default=2, help="before timed ones")
    parser.add_argument(
        "--warm-up-steps", type=int, help="of such a call; by default, as many as timed"
    )
    parser.add_argument("--guidance-scale", type=float, default=6.0)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=describe_machine().cores)
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, help="by default, all of the checkpoint's kind"
    )
    parser.add_argument("--backends", nargs="*", choices=BACKENDS, help="all that can run here")
    parser.add_argument(
        "--cpp", type=_program, metavar="FILE", help="trt_pipeline_candidate, to time C++ as well"
    )
    parser.add_argument(
        "--alone", action="store_true", help="never two candidates in memory at once"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep what peers run here, for the next time"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw charts; needs matplotlib")
    return parser


if __name__ == "__main__":
    main()
