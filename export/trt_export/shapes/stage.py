"""Stage: what the training stages share, from fresh scenes to checkpoints one can resume."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from trt_export.shapes.batches import draw_batches
from trt_export.shapes.muon import Muon

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StagePlan:
    """How long and how fast one stage trains."""

    name: str
    """Names the stage's file in the work folder and seeds its data."""
    steps: int
    decay_steps: int
    """The last steps, over which the learning rate falls to zero."""
    scenes: int
    """Scenes drawn per step, by all processes together."""
    learning_rate: float
    warmup_steps: int = 200
    ema_decay: float = 0.999
    muon: bool = False
    """Whether matrices and convolutions take Muon's steps instead of AdamW's."""

    def learning_rate_at(self, step: int) -> float:
        """Warm-up, stable phase, linear decay; resume with fewer steps to decay earlier."""
        rise = (step + 1) / self.warmup_steps
        fall = (self.steps - step) / self.decay_steps
        return self.learning_rate * max(0.0, min(1.0, rise, fall))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a stage runs and keeps its state."""

    work: Path
    device: torch.device
    seed: int
    workers: int
    """Processes that draw scenes; 0 draws in the training process."""
    processes: int = 1
    """Processes that train together, each on its own scenes, and average their gradients."""
    rank: int = 0
    """Number of this one among them."""
    save_seconds: float = 120.0
    log_seconds: float = 20.0

    def batch_number(self, step: int) -> int:
        """A number of its own for each step of each process, to seed what is random there."""
        return step * self.processes + self.rank


def batches(
    plan: StagePlan, around: Surroundings, first: int
) -> Iterator[tuple[int, Tensor, list[str]]]:
    """Step, pictures [B, 3, 64, 64] in -1..1 and captions, from step `first` to the last."""
    steps = range(first, plan.steps)
    drawn = draw_batches(
        [around.batch_number(step) for step in steps],
        seed=around.seed,
        stage=plan.name,
        count=plan.scenes // around.processes,
        workers=around.workers,
    )
    for step, (pixels, captions) in zip(steps, drawn, strict=True):
        yield step, to_model(pixels, around.device), captions


def to_model(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] in -1..1."""
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    return images.float() / 127.5 - 1


class TrainingState:
    """Networks, their running averages and the optimizer, saved together."""

    def __init__(self, networks: nn.ModuleDict, plan: StagePlan, around: Surroundings) -> None:
        self.networks = networks.to(around.device).requires_grad_(True)
        self.parameters: list[Tensor] = list(networks.parameters())
        self.averages = [p.detach().clone() for p in self.parameters]
        self.optimizers = _optimizers(self.parameters, plan)
        self.plan = plan
        self.around = around
        self.step = 0
        self.path = around.work / f"{plan.name}.pt"
        self.saves = around.rank == 0
        if self.path.exists():
            self._load(around.device)

    def train(
        self, losses: Iterable[tuple[int, Tensor]], on_save: Callable[[], None] = lambda: None
    ) -> None:
        """Goes down the loss of each step, made when it is asked for, and adopts the averages.

        on_save: called whenever the state has been saved.
        """
        journal = Journal(self.plan, self.around.log_seconds)
        save_time = Every(self.around.save_seconds)
        for step, loss in losses:
            self.update(loss)
            journal.note(step, loss)
            if save_time.due():
                self.save()
                on_save()
        self.save()
        on_save()
        self._fill(self.averages)

    def update(self, loss: Tensor) -> None:
        """One optimizer step down the loss, then one of the averages."""
        loss.backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.learning_rate_at(self.step)
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        keep = min(self.plan.ema_decay, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.parameters, 1 - keep)

    def _share_gradients(self) -> None:
        if not distributed.is_initialized():
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @contextmanager
    def averaged(self) -> Iterator[nn.ModuleDict]:
        """The networks with their averaged weights, for as long as the context lasts."""
        trained = [p.detach().clone() for p in self.parameters]
        self._fill(self.averages)
        try:
            yield self.networks
        finally:
            self._fill(trained)

    def _fill(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, values)

    def save(self) -> None:
        """Writes everything needed to go on; a kill in between leaves the former file."""
        if not self.saves:
            return
        state = {
            "step": self.step,
            "networks": self.networks.state_dict(),
            "averages": self.averages,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        aside = self.path.with_suffix(".tmp")
        torch.save(state, aside)
        aside.replace(self.path)

    def _load(self, device: torch.device) -> None:
        state = torch.load(self.path, map_location=device, weights_only=True)
        self.step = state["step"]
        self.networks.load_state_dict(state["networks"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        with torch.no_grad():
            torch._foreach_copy_(self.averages, state["averages"])
        logger.info("%s: going on at step %d", self.plan.name, self.step)


def _optimizers(parameters: list[Tensor], plan: StagePlan) -> list[torch.optim.Optimizer]:
    matrices = [p for p in parameters if plan.muon and p.ndim > 1]
    others = [p for p in parameters if not (plan.muon and p.ndim > 1)]
    adamw = torch.optim.AdamW(
        others, lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    if not matrices:
        return [adamw]
    return [adamw, Muon(matrices, lr=plan.learning_rate, weight_decay=0.01)]


class Journal:
    """Says every now and then how the loss is and how long it will take."""

    def __init__(self, plan: StagePlan, seconds: float) -> None:
        self._plan = plan
        self._seconds = seconds
        self._since = time.monotonic()
        self._losses: list[Tensor] = []

    def note(self, step: int, loss: Tensor) -> None:
        """Keeps one step's loss, and logs the mean of those since the last line."""
        self._losses.append(loss.detach())
        passed = time.monotonic() - self._since
        if passed < self._seconds:
            return
        left = passed / len(self._losses) * (self._plan.steps - step - 1) / 60
        mean = torch.stack(self._losses).mean().item()
        logger.info(
            "%s: step %d of %d, loss %.5f, %.0f scenes/s, %.1f min left",
            *(self._plan.name, step + 1, self._plan.steps, mean),
            *(self._plan.scenes * len(self._losses) / passed, left),
        )
        self._losses.clear()
        self._since = time.monotonic()


class Every:
    """True once per so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the time has passed since it was last due."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True
