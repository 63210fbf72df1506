"""The bench command: this project's backends against each other."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import click

from trt_pipeline.backends import BACKENDS
from trt_pipeline.backends.base import BackendModule
from trt_pipeline.bench.candidate import CandidateSpec
from trt_pipeline.bench.machine import describe_machine
from trt_pipeline.bench.ours import our_spec
from trt_pipeline.bench.report import Report, Row
from trt_pipeline.bench.rounds import Plan, measure
from trt_pipeline.bench.table import lines
from trt_pipeline.bench.verification import load_verified
from trt_pipeline.bench.workload import Workload
from trt_pipeline.bundle import Bundle
from trt_pipeline.command_line import console
from trt_pipeline.command_line.generate import BUNDLE, json_option
from trt_pipeline.errors import BackendError


@click.command()
@click.argument("bundle", type=BUNDLE)
@click.option(
    "--backend",
    "backends",
    type=click.Choice(BACKENDS),
    multiple=True,
    help="May be repeated; every one that can run here by default.",
)
@click.option(
    "--num-inference-steps", type=click.IntRange(1, 1000), default=50, help="Steps of the sampler."
)
@click.option("--batch", "batches", type=click.IntRange(1, 64), multiple=True, default=(1,))
@click.option("--rounds", type=click.IntRange(1), default=10, help="Timed calls of each backend.")
@click.option("--cold-starts", type=click.IntRange(0), default=3, help="New processes of each.")
@click.option("--guidance-scale", default=6.0)
@click.option("--eta", type=click.FloatRange(0, 1), default=0.0)
@click.option("--threads", type=click.IntRange(1, 1024), help="All usable CPUs by default.")
@click.option(
    "--alone", is_flag=True, help="Never two backends in memory at once; starts one every turn."
)
@json_option
@console.debug_option
def bench(
    bundle: Path,
    backends: tuple[str, ...],
    num_inference_steps: int,
    batches: tuple[int, ...],
    rounds: int,
    cold_starts: int,
    guidance_scale: float,
    eta: float,
    threads: int | None,
    alone: bool,
    as_json: bool,
) -> None:
    """Time BUNDLE on each backend: whole pictures and their parts, warm and cold.

    Backends take turns, each in a process of its own; pictures are compared with those of the first
    that runs. Ends with status 1 if one that was named failed.
    """
    loaded, verification = load_verified(bundle)
    names = backends or runnable_backends(loaded)
    specs = [our_spec(str(bundle), name, threads) for name in names]
    workloads = [Workload(batch, num_inference_steps, guidance_scale, eta) for batch in batches]
    rows = watched(specs, Plan(workloads, rounds, cold_starts, alone))
    report = Report(loaded.model.name, describe_machine(), rows, verification=verification)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=1))
    else:
        click.echo("\n".join(lines(report)))
    check_measured(rows)
    if backends and any(row.error for row in rows):
        raise click.exceptions.Exit(console.FAILURE)


def watched(specs: Sequence[CandidateSpec], plan: Plan) -> list[Row]:
    """Measure with progress on stderr."""
    turns = len(specs) * (plan.rounds * len(plan.workloads) + plan.cold_starts)
    with TemporaryDirectory() as work, console.progress("bench", turns) as bar:

        def watch(turn: str) -> None:
            bar.describe(turn)
            bar.advance()

        return measure(specs, plan, Path(work), watch)


def check_measured(rows: Sequence[Row]) -> None:
    """BackendError if no backend could be measured, for after the report that says why."""
    if all(row.error and not row.seconds for row in rows):
        raise BackendError(rows[0].error)


def runnable_backends(bundle: Bundle) -> list[str]:
    """Names of the backends that can run a bundle here, best first."""

    return [name for name in BACKENDS if _module(name).obstacle(bundle) is None]


def _module(name: str) -> BackendModule:
    return cast(BackendModule, import_module(f"trt_pipeline.backends.{name}"))
