"""LDMBertModel, CompVis' text encoder."""

from typing import Any

from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trt_export.networks.settings import (
    HARMLESS,
    PROBABILITY,
    Rules,
    check_settings,
    only,
    whole,
)

TOKENS = 77
"""The pipeline pads and truncates every prompt to so many."""

WIDTH = whole(1, 2**17)

SETTINGS: Rules = {
    "vocab_size": whole(1, 2**24),
    "max_position_embeddings": only(TOKENS),
    "encoder_layers": whole(1, 256),
    "encoder_ffn_dim": WIDTH,
    "encoder_attention_heads": WIDTH,
    "head_dim": WIDTH,
    "encoder_layerdrop": HARMLESS,
    "activation_function": only(
        "gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"
    ),
    "d_model": WIDTH,
    "dropout": PROBABILITY,
    "attention_dropout": PROBABILITY,
    "activation_dropout": PROBABILITY,
    "init_std": HARMLESS,
    "classifier_dropout": HARMLESS,
    "scale_embedding": HARMLESS,
    "use_cache": HARMLESS,
    "pad_token_id": HARMLESS,
}
"""LDMBertModel's. The harmless ones are for training, or diffusers does not read them."""


class LDMBert:
    """The text encoder as diffusers made it."""

    tokens = TOKENS

    def __init__(self, module: Any) -> None:
        self.module = module
        self.width: int = module.config.d_model
        self.vocab_size: int = module.config.vocab_size

    @staticmethod
    def build(config: dict[str, Any]) -> nn.Module:
        """ValueError for a setting that cannot be exported."""
        check_settings(LDMBertConfig, config, SETTINGS)
        bert = LDMBertModel(LDMBertConfig.from_dict(config))
        bert.to_logits = nn.Identity()
        return bert

    def context(self, input_ids: Tensor) -> Tensor:
        """What diffusers' own forward makes of a text: [B, 77, width]."""
        return self.module(input_ids.long(), return_dict=False)[0]

    def traceable(self) -> nn.Module:
        """The same, ready for tracing."""
        return TraceableBert(self.module.model)


class TraceableBert(nn.Module):
    """input_ids int32 [B, 77] → context [B, 77, width]."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        encoder = self.encoder
        positions = encoder.embed_positions.weight[: input_ids.shape[1]]
        # The residual stream stays float32: LDMBert's own forward guards its half-precision
        # overflow with a data-dependent clamp, which cannot be traced.
        hidden_states = encoder.embed_tokens(input_ids).float() + positions.float()
        for layer in encoder.layers:
            normed = layer.self_attn_layer_norm(hidden_states)
            hidden_states = hidden_states + _attention(layer.self_attn, normed).float()
            normed = layer.final_layer_norm(hidden_states)
            hidden_states = (
                hidden_states + layer.fc2(layer.activation_fn(layer.fc1(normed))).float()
            )
        return encoder.layer_norm(hidden_states)


def _attention(attention: Any, hidden_states: Tensor) -> Tensor:
    batch, tokens, _ = hidden_states.shape

    def heads(project: nn.Module) -> Tensor:
        split = project(hidden_states).view(batch, tokens, attention.num_heads, attention.head_dim)
        return split.transpose(1, 2)

    query, key, value = map(heads, (attention.q_proj, attention.k_proj, attention.v_proj))
    mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2)
    return attention.out_proj(mixed.reshape(batch, tokens, attention.inner_dim))
