"""CLIPTextModel, the text encoder of Stable Diffusion."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from trt_export.networks.settings import (
    HARMLESS,
    POSITIVE,
    PROBABILITY,
    Rules,
    check_settings,
    only,
    optional,
    whole,
)

WIDTH = whole(1, 2**16)
SETTINGS: Rules = {
    "vocab_size": whole(1, 2**24),
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "projection_dim": optional(WIDTH),
    "num_hidden_layers": whole(1, 256),
    "num_attention_heads": WIDTH,
    "max_position_embeddings": whole(2, 2**16),
    "hidden_act": only(
        "quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish"
    ),
    "layer_norm_eps": POSITIVE,
    "attention_dropout": PROBABILITY,
    "initializer_range": HARMLESS,
    "initializer_factor": HARMLESS,
    "pad_token_id": HARMLESS,
    "bos_token_id": HARMLESS,
    "eos_token_id": HARMLESS,
}
"""CLIPTextConfig's. The harmless ones are for training, or of the tokenizer, which has its own."""


class CLIPText:
    """The text encoder as transformers made it."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.tokens: int = module.config.max_position_embeddings
        self.width: int = module.config.hidden_size

    @property
    def vocab_size(self) -> int:
        """How many tokens it knows, which those of textual inversions join."""
        return self.module.config.vocab_size

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        CLIPText.check(config)
        return CLIPTextModel(CLIPTextConfig(**config))

    @staticmethod
    def check(config: dict[str, Any]) -> None:
        """ValueError for a setting that cannot be exported."""
        settings = check_settings(CLIPTextConfig, config, SETTINGS)
        if settings["hidden_size"] % settings["num_attention_heads"]:
            raise ValueError(
                f"hidden_size is {settings['hidden_size']}, which num_attention_heads, "
                f"{settings['num_attention_heads']}, does not divide"
            )

    def context(self, input_ids: Tensor) -> Tensor:
        """What transformers' own forward makes of a text: [B, tokens, width]."""
        return self.module(input_ids.long()).last_hidden_state

    def traceable(self) -> nn.Module:
        """The same, ready for tracing."""
        return TraceableCLIP(text_transformer(self.module))


def text_transformer(module: Any) -> Any:
    """The layers of a model, which transformers before 5.6 keeps a level deeper."""
    return getattr(module, "text_model", module)


def fill_positions(module: nn.Module) -> None:
    """Give CLIP's embeddings the numbers of their positions, which no file has: a module that was
    made on the meta device never computed them."""
    part: Any
    for part in module.modules():
        if isinstance(getattr(part, "position_ids", None), Tensor):
            part.position_ids = torch.arange(part.position_embedding.num_embeddings)[None]


class TraceableCLIP(nn.Module):
    """input_ids int32 [B, tokens] → context [B, tokens, width]; a token sees itself and those
    before it."""

    mask: Tensor

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer = transformer
        tokens = transformer.embeddings.position_embedding.num_embeddings
        hidden = torch.full((tokens, tokens), float("-inf")).triu(1)
        self.register_buffer("mask", hidden, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        *_, hidden_states = self.layers(input_ids)
        return self.transformer.final_layer_norm(hidden_states)

    def layers(self, input_ids: Tensor) -> list[Tensor]:
        """The hidden states before the first layer and after each: [B, tokens, width], float32
        between layers, as they may grow large."""
        embeddings = self.transformer.embeddings
        positions = embeddings.position_embedding.weight[: input_ids.shape[1]]
        states = [embeddings.token_embedding(input_ids).float() + positions.float()]
        for layer in self.transformer.encoder.layers:
            mixed = attend(layer.self_attn, layer.layer_norm1(states[-1]), self.mask)
            hidden_states = states[-1] + mixed.float()
            states.append(hidden_states + layer.mlp(layer.layer_norm2(hidden_states)).float())
        return states


def attend(attention: Any, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
    """A layer's attention [B, tokens, width].

    mask: what is added to the scores [tokens, tokens].
    """
    batch, tokens, width = hidden_states.shape

    def heads(project: nn.Module) -> Tensor:
        split = project(hidden_states).view(batch, tokens, -1, attention.head_dim)
        return split.transpose(1, 2)

    query, key, value = map(heads, (attention.q_proj, attention.k_proj, attention.v_proj))
    # In float32, as float16 would round the scale of heads whose width is no power of four.
    scaled = (query.float() * attention.scale).to(query.dtype)
    scores = (scaled @ key.transpose(-1, -2)).float()
    scores = scores if mask is None else scores + mask[:tokens, :tokens]
    mixed = (torch.softmax(scores, dim=-1).to(value.dtype) @ value).transpose(1, 2)
    return attention.out_proj(mixed.reshape(batch, tokens, width))
