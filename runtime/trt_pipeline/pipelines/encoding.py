"""Encode: the second part of a call, which makes a sample of each picture that was asked for."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.capabilities import (
    embeds_guidance,
    sees_masks,
    sees_sizes,
    takes_prompts,
)
from trt_pipeline.pipelines.cache import ArrayCache
from trt_pipeline.pipelines.checks import Call, Picture
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.pipelines.starts import Start, starts
from trt_pipeline.pipelines.texts import Encoded, Texts
from trt_pipeline.sampling.guidance import GuidedRow, guide, guides, unguided
from trt_pipeline.sampling.samples import Rows, Sample

TIME_CACHE_BYTES = 128 * 2**20
"""Time projections of the schedules used last; 4 MB for 50 steps of ldm-text2im-large-256."""


MadeRows: TypeAlias = dict[tuple[tuple[GuidedRow, ...], int, float], Rows]
"""What rows see, which image, and a scale that is embedded → the rows made of them."""


class Encoder:
    """Makes samples; keeps what it encoded of the prompts and schedules used last."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._bundle = graphs.bundle
        self._texts = Texts(graphs)
        self._times = ArrayCache(TIME_CACHE_BYTES)

    def samples(self, call: Call) -> list[Sample]:
        """A sample for each picture of a call, before its first step."""
        seen = [self._seen(picture) for picture in call.pictures]
        self._prepare(call, [len(rows) for rows in seen])
        if not all(call.guided):
            self._prepare(call, [len(picture.mixture) for picture in call.pictures])
        made: MadeRows = {}
        return [
            self._sample(call, picture, start, self._rows(call, picture, rows, start, made))
            for picture, rows, start in zip(
                call.pictures, seen, starts(self._graphs, call), strict=True
            )
        ]

    def _seen(self, picture: Picture) -> list[GuidedRow]:
        """What each denoiser row of a picture sees in guided steps."""
        model = self._bundle.model
        guided = not embeds_guidance(self._bundle) and guides(
            picture.scale, picture.image_scale, above_1_only=model.guides_above_1_only
        )
        if not guided:
            return unguided(picture.mixture)
        return guide(picture.mixture, picture.negative, picture.scale, picture.image_scale)

    def _prepare(self, call: Call, rows: Sequence[int]) -> None:
        """Let graphs be compiled for the first samples of the call while the text is encoded."""
        count = min(len(rows), self._bundle.limits.batch[1])
        sizes = {"batch": count, "rows": sum(rows[:count])}
        sizes |= {"latent_height": call.shape[1], "latent_width": call.shape[2]}
        at_once = call.output_type != "latent" and call.tile is None
        decodes = at_once and call.decoder == "decoder"
        for name in ("denoiser", "decoder") if decodes else ("denoiser",):
            self._graphs.prepare(name, sizes)

    def _rows(
        self,
        call: Call,
        picture: Picture,
        guided: Sequence[GuidedRow],
        start: Start,
        made: MadeRows,
    ) -> list[Rows]:
        """The rows of each step. made: of the call so far, as alike pictures share them."""
        inside = self._rows_of(call, picture, guided, start, made)
        outside = inside
        if not all(call.guided):
            outside = self._rows_of(call, picture, unguided(picture.mixture), start, made)
        return [inside if step else outside for step in call.guided]

    def _rows_of(
        self,
        call: Call,
        picture: Picture,
        seen: Sequence[GuidedRow],
        start: Start,
        made: MadeRows,
    ) -> Rows:
        scale = picture.scale if embeds_guidance(self._bundle) else 1.0
        image = start.condition if sees_masks(self._bundle) else picture.image
        key = tuple(seen), id(image), scale
        if key not in made:
            made[key] = self._make_rows(call, picture, seen, start.condition)
        return made[key]

    def _make_rows(
        self,
        call: Call,
        picture: Picture,
        seen: Sequence[GuidedRow],
        condition: NDArray[np.float32] | None,
    ) -> Rows:
        tensors: dict[str, NDArray[Any]] = {}
        texts: Sequence[Encoded] = [{}] * len(seen)
        if takes_prompts(self._bundle):
            texts = self._texts.encode([row.text for row in seen])
            tensors["context_kv"] = np.stack([text["context_kv"] for text in texts])
        if condition is not None:
            nothing = np.zeros_like(condition)
            images = [condition if row.sees_image else nothing for row in seen]
            tensors["condition"] = np.stack(images)
        return Rows(
            weights=np.array([row.weight for row in seen], np.float32),
            tensors=tensors,
            time_embeds=np.stack(
                [self._time_embeds(call, picture, text) for text in texts], axis=1
            ),
        )

    def _time_embeds(self, call: Call, picture: Picture, text: Encoded) -> NDArray[Any]:
        """[N, E] of the timesteps [N], and of what joins them."""
        timesteps = call.table.timesteps
        inputs: dict[str, NDArray[np.float32]] = {"timesteps": timesteps}
        if embeds_guidance(self._bundle):
            inputs["guidance_scale"] = np.full_like(timesteps, picture.scale)
        if sees_sizes(self._bundle):
            inputs["text_embeds"] = np.repeat(text["text_embeds"][None], len(timesteps), axis=0)
            inputs["time_ids"] = np.repeat(_time_ids(call)[None], len(timesteps), axis=0)
        key = b"".join(tensor.tobytes() for tensor in inputs.values())
        return self._times.get(key, lambda: self._graphs.run("time_embedding", **inputs))[
            "time_embeds"
        ]

    def _sample(self, call: Call, picture: Picture, start: Start, rows: Sequence[Rows]) -> Sample:
        seamless = call.settings.overlay == "seamless"
        return Sample(
            table=call.table,
            rows=rows,
            noise=picture.noise,
            latents=start.latents,
            known=start.known,
            cache_interval=call.settings.cache_interval,
            seed=picture.seed,
            tile=call.tile,
            decoder=call.decoder,
            given=picture.image if seamless else None,
            repainted=picture.repainted,
        )


def _time_ids(call: Call) -> NDArray[np.float32]:
    """[6]: sizes that the model was trained with, arXiv:2307.01952, section 2.2."""
    settings = call.settings
    size = (settings.height, settings.width)
    original, target = settings.original_size or size, settings.target_size or size
    return np.array([*original, *settings.crops_coords_top_left, *target], np.float32)
