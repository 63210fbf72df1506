"""Encode: the second part of a call, which makes a sample of each picture that was asked for."""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.capabilities import embeds_guidance, sees_masks, takes_prompts
from trt_pipeline.pipelines.cache import ArrayCache
from trt_pipeline.pipelines.checks import Call, Picture
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.pipelines.starts import Start, starts
from trt_pipeline.sampling.guidance import GuidedRow, guide, guides, unguided
from trt_pipeline.sampling.samples import Rows, Sample
from trt_pipeline.text.tokenizer import Tokenizer

TEXT_CACHE_BYTES = 256 * 2**20
"""Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32."""
TIME_CACHE_BYTES = 128 * 2**20
"""Time projections of the schedules used last; 4 MB for 50 steps of ldm-text2im-large-256."""


MadeRows: TypeAlias = dict[tuple[tuple[GuidedRow, ...], int, float], Rows]
"""What rows see, which image, and a scale that is embedded → the rows made of them."""


class Encoder:
    """Makes samples; keeps what it encoded of the prompts and schedules used last."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._bundle = graphs.bundle
        self._tokenizer: Tokenizer | None = None
        if self._bundle.tokenizer:
            self._tokenizer = Tokenizer(self._bundle.path, self._bundle.tokenizer)
        self._texts = ArrayCache(TEXT_CACHE_BYTES)
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
        decodes = call.output_type != "latent" and call.tile is None
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
        if takes_prompts(self._bundle):
            tensors["context_kv"] = self._context_kv([row.text or "" for row in seen])
        if condition is not None:
            nothing = np.zeros_like(condition)
            images = [condition if row.sees_image else nothing for row in seen]
            tensors["condition"] = np.stack(images)
        times = self._time_embeds(call.table.timesteps, picture.scale)
        shape = (len(times), len(seen), times.shape[1])
        return Rows(
            weights=np.array([row.weight for row in seen], np.float32),
            tensors=tensors,
            time_embeds=np.broadcast_to(times[:, None], shape),
        )

    def _context_kv(self, texts: Sequence[str]) -> NDArray[Any]:
        """[R, K], encoded one by one so that a text's bits never depend on others."""
        assert self._tokenizer
        input_ids = self._tokenizer.encode(texts)
        keyed = [(ids.tobytes(), partial(self._encode_text, ids)) for ids in input_ids]
        return np.stack([self._texts.get(key, run) for key, run in keyed])

    def _encode_text(self, input_ids: NDArray[np.int32]) -> NDArray[Any]:
        outputs = self._graphs.run("text_encoder", input_ids=input_ids[None])
        context_kv: NDArray[Any] = outputs["context_kv"][0]
        return context_kv

    def _time_embeds(self, timesteps: NDArray[np.float32], scale: float) -> NDArray[Any]:
        """[N, E] of timesteps [N], and of the guidance scale where it is embedded."""
        inputs: dict[str, NDArray[np.float32]] = {"timesteps": timesteps}
        if embeds_guidance(self._bundle):
            inputs["guidance_scale"] = np.full_like(timesteps, scale)
        key = b"".join(tensor.tobytes() for tensor in inputs.values())
        return self._times.get(
            key, lambda: self._graphs.run("time_embedding", **inputs)["time_embeds"]
        )

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
            given=picture.image if seamless else None,
            repainted=picture.repainted,
        )
