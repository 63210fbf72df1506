"""Encode: the second part of a call, which makes a sample of each picture that was asked for."""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle.capabilities import embeds_guidance, enlarges, takes_prompts
from trt_pipeline.pipelines.cache import ArrayCache
from trt_pipeline.pipelines.checks import Call, Picture
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.sampling.guidance import guide
from trt_pipeline.sampling.inpainting import KnownLatents, kept_latents, noised
from trt_pipeline.sampling.samples import Rows, Sample
from trt_pipeline.text.prompts import Mixture
from trt_pipeline.text.tokenizer import Tokenizer

TEXT_CACHE_BYTES = 256 * 2**20
"""Keys and values of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32."""
TIME_CACHE_BYTES = 128 * 2**20
"""Time projections of the schedules used last; 4 MB for 50 steps of ldm-text2im-large-256."""


MadeRows: TypeAlias = dict[tuple[tuple[tuple[str, float], ...], int, float], Rows]
"""Texts with their weights, which image, and a scale that is embedded → the rows made of them."""


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
        weighted = [self._weighted_texts(picture, True) for picture in call.pictures]
        self._prepare(call, [len(texts) for texts in weighted])
        if not all(call.guided):
            self._prepare(call, [len(picture.mixture) for picture in call.pictures])
        latents = self._encoded(call)
        made: MadeRows = {}
        return [
            self._sample(call, picture, self._rows(call, picture, texts, made), clean)
            for picture, texts, clean in zip(call.pictures, weighted, latents, strict=True)
        ]

    def _weighted_texts(self, picture: Picture, guided: bool) -> Mixture:
        """What each denoiser row of a picture sees, and its weight."""
        scale = picture.scale if guided and not embeds_guidance(self._bundle) else 1.0
        return guide(picture.mixture, picture.negative, scale)

    def _prepare(self, call: Call, rows: Sequence[int]) -> None:
        """Let graphs be compiled for the first samples of the call while the text is encoded."""
        count = min(len(rows), self._bundle.limits.batch[1])
        sizes = {"batch": count, "rows": sum(rows[:count])}
        sizes |= {"latent_height": call.shape[1], "latent_width": call.shape[2]}
        decodes = call.output_type != "latent" and call.tile is None
        for name in ("denoiser", "decoder") if decodes else ("denoiser",):
            self._graphs.prepare(name, sizes)

    def _rows(self, call: Call, picture: Picture, guided: Mixture, made: MadeRows) -> list[Rows]:
        """The rows of each step. made: of the call so far, as alike pictures share them."""
        inside = self._rows_of(call, picture, guided, made)
        outside = inside
        if not all(call.guided) and picture.scale != 1:
            outside = self._rows_of(call, picture, self._weighted_texts(picture, False), made)
        return [inside if step else outside for step in call.guided]

    def _rows_of(self, call: Call, picture: Picture, weighted: Mixture, made: MadeRows) -> Rows:
        scale = picture.scale if embeds_guidance(self._bundle) else 1.0
        key = tuple(weighted), id(picture.image), scale
        if key not in made:
            made[key] = self._make_rows(call, picture, weighted)
        return made[key]

    def _make_rows(self, call: Call, picture: Picture, weighted: Mixture) -> Rows:
        texts = [text for text, _ in weighted]
        tensors: dict[str, NDArray[Any]] = {}
        if takes_prompts(self._bundle):
            tensors["context_kv"] = self._context_kv(texts)
        if enlarges(self._bundle) and picture.image is not None:
            condition = _low_resolution(picture.image)
            tensors["condition"] = np.repeat(condition[None], len(texts), axis=0)
        times = self._time_embeds(call.table.timesteps, picture.scale)
        shape = (len(times), len(texts), times.shape[1])
        return Rows(
            weights=np.array([weight for _, weight in weighted], np.float32),
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

    def _encoded(self, call: Call) -> "Sequence[NDArray[np.float32] | None]":
        """Latents [C, h, w] of the image that each picture begins with, if any."""
        images = [picture.image for picture in call.pictures if picture.image is not None]
        if not images or enlarges(self._bundle):
            return [None] * len(call.pictures)
        return [*self._graphs.encode_images(np.stack(images))]

    def _sample(
        self,
        call: Call,
        picture: Picture,
        rows: Sequence[Rows],
        clean: NDArray[np.float32] | None,
    ) -> Sample:
        latents, known = self._start(call, picture, clean)
        return Sample(
            table=call.table,
            rows=rows,
            noise=picture.noise,
            latents=latents,
            known=known,
            cache_interval=call.settings.cache_interval,
            seed=picture.seed,
            tile=call.tile,
            given=picture.image,
            repainted=picture.repainted,
        )

    def _start(
        self, call: Call, picture: Picture, clean: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], KnownLatents | None]:
        """The latents [C, h, w] that denoising begins with, and what it must not change."""
        if picture.latents is not None:
            return picture.latents.copy(), None
        noise = picture.noise.draw((1, *call.shape))[0]
        start = noise * np.float32(call.table.initial_scale)
        if clean is None:
            return start, None
        level = call.table.alphas_cumprod[0]
        if not call.from_noise:
            start = noised(clean, noise, level)
        if picture.repainted is None:
            return start, None
        kept = kept_latents(picture.repainted, self._bundle.model.vae_scale_factor)
        known = KnownLatents(clean, noise, kept)
        return known.restore(start, level), known


def _low_resolution(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture [h, w, 3] as the denoiser sees it, [3, h, w] in -1..1."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
    scaled: NDArray[np.float32] = 2 * (planes / np.float32(255)) - 1
    return scaled
