"""The decoder stage draws from latents as the denoiser leaves them, and does not move them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trt_export.shapes.decoder import denoised, train_decoder
from trt_export.shapes.model import (
    build_bert,
    build_scheduler,
    build_tokenizer,
    build_unet,
    build_vae,
)
from trt_export.shapes.stage import StagePlan

from .test_train import TINY, surroundings

ALPHAS_CUMPROD = build_scheduler().alphas_cumprod


class Oracle(nn.Module):
    """Predicts the noise that lies over latents it knows, times a factor."""

    def __init__(self, latents: Tensor, factor: float) -> None:
        super().__init__()
        self.latents, self.factor = latents, factor

    def forward(self, noisy: Tensor, timesteps: Tensor, **_: Any) -> SimpleNamespace:
        alpha = ALPHAS_CUMPROD[timesteps][:, None, None, None]
        noise = (noisy - alpha.sqrt() * self.latents) / (1 - alpha).sqrt()
        return SimpleNamespace(sample=self.factor * noise)


@pytest.mark.parametrize(("factor", "exact"), [(1.0, True), (0.8, False)])
def test_only_a_perfect_denoiser_leaves_exact_latents(factor: float, exact: bool) -> None:
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    unet: Any = Oracle(latents, factor)
    generator = torch.Generator().manual_seed(1)
    left = denoised(unet, latents, torch.zeros(5, 77, 16), ALPHAS_CUMPROD, generator)
    assert left.shape == latents.shape
    assert torch.allclose(left, latents, atol=1e-3) == exact
    assert (left - latents).abs().max() < 2


def test_only_the_decoder_is_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae, unet, bert = build_vae(TINY), build_unet(TINY), build_bert(TINY)
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    plan = StagePlan("decoder", 2, 1, scenes=2, learning_rate=1e-2, muon=True)
    train_decoder(
        unet, bert, vae, build_tokenizer(), build_scheduler(), plan, surroundings(tmp_path)
    )
    changed = {n.split(".")[0] for n, t in vae.state_dict().items() if not t.equal(before[n])}
    assert changed == {"decoder", "post_quant_conv"}
