"""Muon's steps are near orthogonal, of AdamW's size, and lead down."""

import pytest
import torch

from trt_export.shapes.muon import ADAMW_RMS, Muon, orthogonalized


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (32, 33)])
def test_singular_values_come_near_one_and_their_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonalized(matrix) @ right.T
    wide = values / values.norm() > 0.02  # smaller ones take more iterations
    assert found.diag()[wide].min() > 0.65
    assert found.diag().max() < 1.25
    assert (found - found.diag().diag()).abs().max() < 1e-3


def test_a_matrix_of_zeros_stays() -> None:
    assert torch.equal(orthogonalized(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_a_convolution_moves_by_the_size_of_adamws_step() -> None:
    weight = torch.zeros(8, 4, 3, 3, requires_grad=True)
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=0.1).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.1 * ADAMW_RMS, rel=0.15)


def test_it_finds_the_minimum_of_a_quadratic() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(6, 9, generator=generator)
    weight = torch.zeros(6, 9, requires_grad=True)
    muon = Muon([weight], lr=0.2)
    for step in range(200):
        muon.param_groups[0]["lr"] = 0.2 * (1 - step / 200)
        muon.zero_grad()
        (weight - target).square().sum().backward()  # type: ignore[no-untyped-call]
        muon.step()
    assert (weight - target).abs().max() < 0.05
