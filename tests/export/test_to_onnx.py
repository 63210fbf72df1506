"""float32 graphs made from float16 ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from trt_export.onnx_graphs.to_onnx import read_specs, save, trace, widen
from trt_pipeline.bundle.manifest import TensorSpec
from trt_pipeline.errors import CheckpointError

HALF = TensorSpec("timesteps", "float16", ("steps", 64))


class Affine(nn.Module):
    """y = x·W + 0.1, large enough that W is stored in the weight file."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(64, 64).half())

    def forward(self, timesteps: Tensor) -> Tensor:
        return timesteps @ self.weight + 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("affine")
    example = {"timesteps": torch.ones(3, 64).half()}
    save("time_embedding", trace("time_embedding", Affine(), (HALF,), example), folder)
    return folder


def test_both_graphs_share_one_float16_weight_file(folder: Path) -> None:
    specs = read_specs("time_embedding", folder)
    assert {spec.weights for spec in specs.values()} == {"onnx/time_embedding.weights"}
    assert (folder / "onnx" / "time_embedding.weights").stat().st_size == 64 * 64 * 2


def test_dtypes_differ_and_dimensions_keep_their_names(folder: Path) -> None:
    specs = read_specs("time_embedding", folder)
    assert specs["fp16"].inputs == (HALF,)
    assert specs["fp32"].inputs == (TensorSpec("timesteps", "float32", ("steps", 64)),)
    assert specs["fp32"].outputs[0].dtype == "float32"


def test_the_float32_graph_computes_in_float32(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "onnx" / "time_embedding.fp32.onnx")
    value = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    expected = value @ Affine().weight.detach().float().numpy()
    (found,) = session.run(None, {"timesteps": value})
    np.testing.assert_allclose(found, expected + np.float32(np.float16(0.1)), atol=2e-5)


def test_widening_leaves_no_float16_but_the_weights(folder: Path) -> None:
    graph = widen(ir.load(folder / "onnx" / "time_embedding.fp16.onnx")).graph
    half = [v.name for node in graph for v in node.outputs if v.dtype == ir.DataType.FLOAT16]
    assert half == []
    stored = {v.dtype for v in graph.initializers.values()}
    assert ir.DataType.FLOAT16 in stored


class Frozen(nn.Module):
    """Works for three steps only."""

    def forward(self, timesteps: Tensor) -> Tensor:
        return timesteps.view(3, 64) * 2


def test_a_dimension_that_tracing_would_fix_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot be exported with free sizes"):
        trace("time_embedding", Frozen(), (HALF,), {"timesteps": torch.ones(3, 64).half()})


class Attention(nn.Module):
    def forward(self, timesteps: Tensor) -> Tensor:
        heads = timesteps.view(1, 1, -1, 64)
        return nn.functional.scaled_dot_product_attention(heads, heads, heads)


def test_the_attention_scale_is_not_rounded_to_float16() -> None:
    model = trace("time_embedding", Attention(), (HALF,), {"timesteps": torch.ones(3, 64).half()})
    constants = [v.const_value for v in model.graph.initializers.values()]
    scales = [c for c in constants if c is not None and c.size == 1 and c.numpy() == 64**-0.5]
    assert [scale.dtype for scale in scales] == [ir.DataType.FLOAT]


class Mish(nn.Module):
    def forward(self, timesteps: Tensor) -> Tensor:
        return nn.functional.mish(timesteps)


def test_mish_is_written_without_an_operation_that_openvino_cannot_compile() -> None:
    wide = replace(HALF, dtype="float32")
    model = trace("time_embedding", Mish(), (wide,), {"timesteps": torch.ones(3, 64)})
    assert not {"Mish", "Softplus", "Tanh"} & {node.op_type for node in model.graph}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    values = torch.linspace(-120, 120, 640).reshape(10, 64)
    (found,) = session.run(None, {"timesteps": values.numpy()})
    assert np.abs(found - nn.functional.mish(values).numpy()).max() < 1e-5
