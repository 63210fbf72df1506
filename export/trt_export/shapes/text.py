"""Text stage: the text encoder learns from captions alone to say what lies where.

No picture is drawn, so a step costs little. Relations, which the denoiser had not begun to learn in
8,000 steps together with an untrained encoder, take this stage about 900.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trt_export.shapes.denoiser import input_ids, with_dropout
from trt_export.shapes.scenes import (
    BACKGROUNDS,
    COLORS,
    RADII,
    SHAPES,
    SIDE,
    Scene,
    random_placed_scene,
    random_scene,
)
from trt_export.shapes.stage import StagePlan, Surroundings, TrainingState
from trt_pipeline.text.tokenizer import Tokenizer

SHORT = 32
"""Tokens that hold every caption; full padding costs the double."""
DOUBLES = 0.7
"""Part of the scenes with two shapes. With fewer, their order was not learned in 3,000 steps."""
CELLS = 4
"""Cells in each row and each column of a layout."""
REACH = 2.0
"""Pixels beyond a shape's box within which a cell's centre counts as covered."""
COLOR_NAMES = (*COLORS, *BACKGROUNDS)
FORM_NAMES = (*SHAPES, "none")
SIZE_NAMES = (*RADII, "none")
CLASSES = [len(COLOR_NAMES), len(FORM_NAMES), len(SIZE_NAMES)]


class LayoutReader(nn.Module):
    """Reads a layout from text states by cross-attention from every cell, as the denoiser will."""

    def __init__(self, width: int, heads: int, layers: int = 2) -> None:
        super().__init__()
        self.cells = nn.Parameter(torch.randn(CELLS**2, width) / 2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(layers)
        )
        self.feed_forwards = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * width),
                nn.GELU(),
                nn.Linear(2 * width, width),
            )
            for _ in range(layers)
        )
        self.classes = nn.Linear(width, sum(CLASSES))

    def forward(self, states: Tensor) -> Tensor:
        """Logits [B, CELLS², sum of CLASSES] from text states [B, 77, width]."""
        cells = self.cells.expand(len(states), -1, -1)
        for norm, attention, feed_forward in zip(
            self.norms, self.attentions, self.feed_forwards, strict=True
        ):
            cells = cells + attention(norm(cells), states, states, need_weights=False)[0]
            cells = cells + feed_forward(cells)
        return self.classes(cells)


def train_text_encoder(
    bert: LDMBertModel, tokenizer: Tokenizer, plan: StagePlan, around: Surroundings
) -> None:
    """Trains the text encoder in place, from where the work folder left off."""
    config = bert.config
    reader = LayoutReader(config.d_model, config.encoder_attention_heads)
    state = TrainingState(nn.ModuleDict({"bert": bert, "reader": reader}), plan, around)

    def losses() -> Iterator[tuple[int, Tensor]]:
        for step, scenes, captions in _batches(plan, around, state.step):
            ids = input_ids(tokenizer, captions).to(around.device)
            states = bert(ids if _is_late(plan, step) else ids[:, :SHORT])[0]
            yield step, layout_loss(reader(states), layouts(scenes).to(around.device))

    state.train(losses())


def _batches(
    plan: StagePlan, around: Surroundings, first: int
) -> Iterator[tuple[int, list[Scene], list[str]]]:
    for step in range(first, plan.steps):
        number = around.batch_number(step)
        rng = np.random.default_rng([around.seed, *plan.name.encode(), number])
        draw = (
            random_scene if _is_late(plan, step) else partial(random_placed_scene, doubles=DOUBLES)
        )
        scenes = [draw(rng) for _ in range(plan.scenes // around.processes)]
        captions = [scene.caption(rng) for scene in scenes]
        yield step, scenes, with_dropout(captions, torch.Generator().manual_seed(number))


def _is_late(plan: StagePlan, step: int) -> bool:
    """Whether captions are those, and padded as, the denoiser will see; before, the hard ones."""
    return step >= plan.steps - plan.decay_steps


def layouts(scenes: Sequence[Scene]) -> Tensor:
    """What lies at the centre of each cell: colour, form and size, int64 [B, CELLS², 3]."""
    return torch.from_numpy(np.stack([_layout(scene) for scene in scenes]))


def _layout(scene: Scene) -> NDArray[np.int64]:
    centers = (np.arange(CELLS) + 0.5) * SIDE / CELLS
    layout = np.full((CELLS, CELLS, 3), _classes(scene.background, "none", "none"))
    for shape in scene.shapes:
        columns = np.abs(centers - shape.x) <= shape.radius + REACH
        rows = np.abs(centers - shape.y) <= shape.radius + REACH
        layout[rows[:, None] & columns] = _classes(shape.color, shape.name, shape.size)
    return layout.reshape(CELLS**2, 3)


def _classes(color: str, form: str, size: str) -> tuple[int, int, int]:
    return COLOR_NAMES.index(color), FORM_NAMES.index(form), SIZE_NAMES.index(size)


def layout_loss(logits: Tensor, layout: Tensor) -> Tensor:
    """Cross entropy of colour, form and size, added."""
    parts = [
        cross_entropy(part.flatten(0, 1), labels.flatten())
        for part, labels in zip(
            torch.split(logits, CLASSES, dim=-1), layout.unbind(-1), strict=True
        )
    ]
    return torch.stack(parts).sum()
