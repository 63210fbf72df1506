"""Texts: what the text encoder's graph makes of prompts, kept for those used last."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trt_pipeline.bundle import Bundle
from trt_pipeline.pipelines.cache import ArrayCache
from trt_pipeline.pipelines.graphs import Graphs
from trt_pipeline.text.tokenizer import Tokenizer

CACHE_BYTES = 256 * 2**20
"""Of the prompts used last; 7.7 MB each for ldm-text2im-large-256 in float32."""

Encoded: TypeAlias = Mapping[str, NDArray[Any]]
"""context_kv [K], and text_embeds [P] where the model has them."""


class Texts:
    """Encodes texts one by one, so that a text's bits never depend on others."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._tokenizers = _tokenizers(graphs.bundle)
        self._zeros_for_none = graphs.bundle.model.zeros_for_empty_prompt
        self._cache = ArrayCache(CACHE_BYTES)

    def encode(self, texts: Sequence[str | None]) -> list[Encoded]:
        """What becomes of each text. None is a negative prompt that was not given: the empty text,
        or zeros for a model that was trained so. At least one is a text."""
        plain = [None if text is None and self._zeros_for_none else text or "" for text in texts]
        some = [text for text in dict.fromkeys(plain) if text is not None]
        tokens = {name: one.encode(some) for name, one in self._tokenizers.items()}
        encoded: dict[str | None, Encoded] = {
            text: self._run({name: ids[row] for name, ids in tokens.items()})
            for row, text in enumerate(some)
        }
        first = encoded[some[0]]
        encoded[None] = {name: np.zeros_like(array) for name, array in first.items()}
        return [encoded[text] for text in plain]

    def _run(self, input_ids: Mapping[str, NDArray[np.int32]]) -> Encoded:
        """input_ids: a row for each of the graph's inputs."""

        def run() -> Encoded:
            rows = {name: ids[None] for name, ids in input_ids.items()}
            outputs = self._graphs.run("text_encoder", **rows)
            return {name: output[0] for name, output in outputs.items()}

        return self._cache.get(b"".join(ids.tobytes() for ids in input_ids.values()), run)


def _tokenizers(bundle: Bundle) -> dict[str, Tokenizer]:
    """Input of the text encoder → its tokenizer."""
    specs = {"input_ids": bundle.tokenizer, "input_ids_2": bundle.tokenizer_2}
    return {
        name: Tokenizer(bundle.path, spec)
        for name, spec in specs.items()
        if spec and name in bundle.inputs("text_encoder")
    }
