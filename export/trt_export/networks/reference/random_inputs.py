"""Random tensors for a graph's inputs: something to trace on and to compare with."""

from collections.abc import Mapping

import torch
from torch import Tensor

from trt_pipeline.bundle.manifest import TensorSpec


def random_inputs(
    inputs: tuple[TensorSpec, ...], sizes: Mapping[str, int], vocab_size: int, seed: int
) -> dict[str, Tensor]:
    """Tensors for a graph's inputs. sizes gives a number for each dimension that varies."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(spec: TensorSpec) -> Tensor:
        shape = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in spec.shape)
        if spec.name == "rows":
            return torch.arange(*shape, dtype=torch.int32) % sizes["batch"]
        if spec.name == "timesteps":
            return torch.randint(1000, shape, generator=generator).float()
        if spec.name == "time_ids":
            return torch.randint(2048, shape, generator=generator).float()
        if spec.name == "guidance_scale":
            return 1 + 9 * torch.rand(shape, generator=generator)
        if spec.dtype == "int32":
            return torch.randint(vocab_size, shape, generator=generator, dtype=torch.int32)
        if spec.name == "mask":
            return torch.randint(2, shape, generator=generator, dtype=torch.uint8)
        if spec.dtype == "uint8":
            return torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        return torch.randn(shape, generator=generator).to(getattr(torch, spec.dtype))

    return {spec.name: tensor(spec) for spec in inputs}
