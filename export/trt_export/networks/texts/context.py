"""text_encoder: one text encoder or two, and the UNet's layers that read it, as one graph."""

import torch
from torch import Tensor, nn

from trt_export.networks.unets.unet import UNet, cross_attentions


class ContextEncoder(nn.Module):
    """input_ids int32 [B, tokens] → context_kv [B, K]: the pieces of context_sizes, one after the
    other, so that a step need not copy them out of a row.

    A pair of encoders reads input_ids_2 as well, and gives text_embeds.
    """

    def __init__(self, encoder: nn.Module, unet: UNet) -> None:
        super().__init__()
        self.encoder = encoder
        layers = cross_attentions(unet.module)
        self.projections = nn.ModuleList(p for a in layers for p in (a.to_k, a.to_v))

    def forward(
        self, input_ids: Tensor, input_ids_2: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        if input_ids_2 is None:
            return self._project(self.encoder(input_ids))
        context, text_embeds = self.encoder(input_ids, input_ids_2)
        return self._project(context), text_embeds

    def _project(self, context: Tensor) -> Tensor:
        return torch.cat([project(context).flatten(1) for project in self.projections], dim=-1)
