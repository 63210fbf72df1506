"""The two text encoders of Stable Diffusion XL, which make one context together."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from trt_export.networks.settings import Rules, check_settings, whole
from trt_export.networks.texts.clip import (
    SETTINGS,
    WIDTH,
    CLIPText,
    TraceableCLIP,
    text_transformer,
)

PROJECTED: Rules = {"projection_dim": WIDTH, "eos_token_id": whole(0, 2**24)}
"""CLIPTextConfig's, of a model whose end token is projected."""
OLD_END = 2
"""The eos_token_id in configurations from before transformers 4.31, whatever the tokenizer's is.
The end token is then found as the one of the highest id."""


class CLIPTextWithProjection(CLIPText):
    """CLIPTextModelWithProjection."""

    @property
    def pooled_width(self) -> int:
        """Numbers in text_embeds."""
        return int(self.module.config.projection_dim)

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        CLIPText.check(config)
        check_settings(CLIPTextConfig, config, {**SETTINGS, **PROJECTED})
        return CLIPTextModelWithProjection(CLIPTextConfig(**config))


class CLIPPair:
    """Both encoders as transformers made them. Their second-last layers, side by side, are the
    context, and the second encoder's end token is what joins the time embedding."""

    def __init__(self, first: CLIPText, second: CLIPTextWithProjection) -> None:
        self.first, self.second = first, second
        self.tokens = first.tokens
        self.width = first.width + second.width
        self.vocab_size = min(first.vocab_size, second.vocab_size)

    def answers(self, input_ids: Tensor, input_ids_2: Tensor) -> Mapping[str, Tensor]:
        """What transformers' own forward makes of a text: context [B, tokens, width], and
        text_embeds [B, pooled_width]."""
        one = self.first.module(input_ids.long(), output_hidden_states=True)
        two = self.second.module(input_ids_2.long(), output_hidden_states=True)
        states = [output.hidden_states[-2] for output in (one, two)]
        return {"context": torch.cat(states, dim=-1), "text_embeds": two.text_embeds}

    def traceable(self) -> nn.Module:
        """The same, ready for tracing."""
        return TraceablePair(self)


class TraceablePair(nn.Module):
    """input_ids, input_ids_2 int32 [B, tokens] → context [B, tokens, width], text_embeds float32
    [B, pooled_width]."""

    def __init__(self, pair: CLIPPair) -> None:
        super().__init__()
        self.first = TraceableCLIP(text_transformer(pair.first.module))
        self.second = TraceableCLIP(text_transformer(pair.second.module))
        self.projection = pair.second.module.text_projection
        self.end_id: int = pair.second.module.config.eos_token_id

    def forward(self, input_ids: Tensor, input_ids_2: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.first.layers(input_ids), self.second.layers(input_ids_2)
        context = torch.cat([one[-2], two[-2]], dim=-1).to(self.projection.weight.dtype)
        last = self.second.transformer.final_layer_norm(two[-1])
        end = first_end(input_ids_2, self.end_id)[:, None, None].expand(-1, 1, last.shape[-1])
        return context, self.projection(last.gather(1, end).squeeze(1)).float()


def first_end(input_ids: Tensor, end_id: int) -> Tensor:
    """The place of the first end token in each text, [B], as transformers finds it."""
    tokens = input_ids.shape[1]
    highest = input_ids.float().amax(dim=1, keepdim=True)
    is_end = input_ids.float() == (highest if end_id == OLD_END else end_id)
    # No two of these are alike, as runtimes differ in which of equal numbers they find.
    left = torch.arange(tokens, 0, -1, dtype=torch.float32, device=input_ids.device)
    return (is_end * left).argmax(dim=1)
