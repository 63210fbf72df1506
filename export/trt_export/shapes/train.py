"""Trainer of the embedded checkpoint: `python -m trt_export.shapes.train --out DIR`.

It draws its own data, runs on a CPU or a GPU, and when killed goes on from its work folder.
"""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import distributed
from torch.multiprocessing.spawn import spawn

from trt_export.checkpoint.opening import open_checkpoint
from trt_export.shapes.checkpoint_folder import read_checkpoint, write_checkpoint
from trt_export.shapes.denoiser import train_denoiser
from trt_export.shapes.model import EMBEDDED, Networks, build_scheduler, build_tokenizer
from trt_export.shapes.refinement import refine_denoiser
from trt_export.shapes.stage import StagePlan, Surroundings
from trt_export.shapes.text import train_text_encoder
from trt_export.shapes.vae import train_vae
from trt_pipeline.errors import TrtPipelineError

MEETING_POINT = "processes"
"""File in the work folder through which the processes find each other."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Lengths and batches of the stages for one kind of machine."""

    vae: StagePlan
    text: StagePlan
    denoiser: StagePlan
    refinement: StagePlan


TEXT = StagePlan("text", 2000, 700, scenes=64, learning_rate=1e-3, warmup_steps=100, ema_decay=0.99)
"""Small on every machine."""
PRESETS = {
    "cpu": Preset(
        vae=StagePlan("vae", 5000, 1500, scenes=16, learning_rate=1e-3, ema_decay=0.99, muon=True),
        text=TEXT,
        denoiser=StagePlan(
            "denoiser", 6000, 3000, scenes=32, learning_rate=1.2e-3, ema_decay=0.998, muon=True
        ),
        refinement=StagePlan(
            "refinement",
            190,
            150,
            scenes=32,
            learning_rate=2e-4,
            warmup_steps=10,
            ema_decay=0.95,
            muon=True,
        ),
    ),
    "gpu": Preset(
        vae=StagePlan("vae", 6000, 2000, scenes=64, learning_rate=1e-3, muon=True),
        text=TEXT,
        denoiser=StagePlan(
            "denoiser", 8000, 4000, scenes=256, learning_rate=1.5e-3, ema_decay=0.999, muon=True
        ),
        refinement=StagePlan(
            "refinement",
            600,
            450,
            scenes=256,
            learning_rate=2e-4,
            warmup_steps=20,
            ema_decay=0.97,
            muon=True,
        ),
    ),
}


def main() -> None:
    """Trains as the command line says and writes the checkpoint."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "error: --device cuda: torch sees no GPU here.\n")
    if arguments.start:
        try:
            open_checkpoint(str(arguments.start), download=False)
        except TrtPipelineError as error:
            parser.exit(2, f"error: {error}\n")
    arguments.work.mkdir(parents=True, exist_ok=True)
    # A killed run leaves its meeting point behind, which would stop the next one.
    (arguments.work / MEETING_POINT).unlink(missing_ok=True)
    if arguments.processes == 1:
        _train_rank(0, arguments)
    else:
        spawn(_train_rank, (arguments,), arguments.processes)  # type: ignore[no-untyped-call]


def _train_rank(rank: int, arguments: argparse.Namespace) -> None:
    level = logging.INFO if rank == 0 else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    device = torch.device(_device_name(arguments.device))
    around = Surroundings(
        work=arguments.work,
        device=device,
        seed=arguments.seed,
        workers=arguments.workers,
        processes=arguments.processes,
        rank=rank,
    )
    with only_one(around), _group(around):
        torch.manual_seed(arguments.seed)
        start = arguments.start
        networks = read_checkpoint(start) if start else Networks.untrained(EMBEDDED)
        train(_preset(arguments, device), around, networks, arguments.out)


@contextmanager
def only_one(around: Surroundings) -> Iterator[None]:
    """Refuses a work folder that another training writes to, even one whose parent was killed."""
    if around.rank > 0:
        yield
        return
    lock = FileLock(around.work / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SystemExit(f"another training is at work in {around.work}.") from None
    with lock:
        yield


@contextmanager
def _group(around: Surroundings) -> Iterator[None]:
    """Lets the processes of one training talk to each other, for as long as the context lasts."""
    if around.processes == 1:
        yield
        return
    meeting_point = around.work / MEETING_POINT
    distributed.init_process_group(
        "gloo",
        init_method=meeting_point.absolute().as_uri(),
        rank=around.rank,
        world_size=around.processes,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def train(preset: Preset, around: Surroundings, networks: Networks, out: Path) -> None:
    """All stages, then the checkpoint folder `out`; a stage without steps is left out."""
    torch.manual_seed(around.seed)
    tokenizer, scheduler = build_tokenizer(), build_scheduler()
    vae, unet, bert = networks.vae, networks.unet, networks.bert
    if preset.vae.steps:
        train_vae(vae, preset.vae, around)
    if preset.text.steps:
        train_text_encoder(bert, tokenizer, preset.text, around)
    for stage, plan in ((train_denoiser, preset.denoiser), (refine_denoiser, preset.refinement)):
        if plan.steps:
            stage(unet, bert, vae, tokenizer, scheduler, plan, around)
    if around.rank == 0:
        write_checkpoint(out, networks)


def _device_name(choice: str) -> str:
    if choice == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return choice


def _preset(arguments: argparse.Namespace, device: torch.device) -> Preset:
    preset = PRESETS["gpu" if device.type == "cuda" else "cpu"]
    return Preset(
        vae=_resized(preset.vae, arguments.vae_steps, arguments.vae_decay_steps),
        text=_resized(preset.text, 0 if arguments.start else None, None),
        denoiser=_resized(preset.denoiser, arguments.steps, arguments.decay_steps),
        refinement=_resized(
            preset.refinement, arguments.refinement_steps, arguments.refinement_decay_steps
        ),
    )


def _resized(plan: StagePlan, steps: int | None, decay_steps: int | None) -> StagePlan:
    return replace(
        plan,
        steps=plan.steps if steps is None else steps,
        decay_steps=decay_steps or plan.decay_steps,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trt_export.shapes.train",
        description="Train the embedded checkpoint: VAE, text encoder, denoiser, and its "
        "refinement on pictures of its own. When killed, it goes on from its work folder.",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="checkpoint folder to write")
    add("--work", type=Path, required=True, help="folder of the trainer's own state")
    add(
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="go on from its weights; its texts and latents stay what they are",
    )
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: a GPU if there is one",
    )
    add("--seed", type=int, default=0, help="of weights, scenes and noise (0)")
    add("--workers", type=_count, default=0, help="processes that draw scenes (0: the trainer)")
    add("--processes", type=_positive, default=1, help="train in so many on the CPU together (1)")
    add("--threads", type=_positive, help="of the arithmetic on a CPU, for each process (all)")
    stages = parser.add_argument_group(
        "stages",
        "Lengths in steps. Without them, those that suit the device; 0 leaves one out. Over the "
        "decay steps, the last ones, the learning rate falls; a smaller length on resuming ends a "
        "stage early.",
    )
    for name, stage in (("vae-", "VAE"), ("", "denoiser"), ("refinement-", "refinement")):
        stages.add_argument(f"--{name}steps", type=_count, metavar="N", help=f"of the {stage}")
        stages.add_argument(f"--{name}decay-steps", type=_count, metavar="N", help="its last ones")
    return parser


def _count(text: str, minimum: int = 0) -> int:
    number = int(text)
    if number < minimum:
        raise argparse.ArgumentTypeError(f"{text} is below {minimum}")
    return number


def _positive(text: str) -> int:
    return _count(text, minimum=1)


if __name__ == "__main__":
    main()
