"""Operations that are written in ONNX otherwise than by PyTorch's exporter."""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20 as op

from trt_export.onnx_graphs.attention import attention


def translation_table() -> dict[Any, Callable[..., Any]]:
    """For torch.onnx.export's custom_translation_table."""
    return {
        torch.ops.aten.scaled_dot_product_attention.default: attention,
        torch.ops.aten.mish.default: mish,
    }


def mish(x: Any) -> Any:
    """x tanh(ln(1 + eˣ)), arXiv:1908.08681, as x - 2x / (1 + (1 + eˣ)²): OpenVINO cannot
    compile some graphs with a Mish, nor with the operations that it takes for one."""
    one = op.CastLike(op.Constant(value_float=1.0), x)
    grown = op.Add(one, op.Exp(x))
    return op.Sub(x, op.Div(op.Add(x, x), op.Add(one, op.Mul(grown, grown))))
