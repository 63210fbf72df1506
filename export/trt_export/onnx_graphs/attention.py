"""How attention is written in ONNX.

The exporter's own translation rounds the scale to the arithmetic's precision; in a float16 graph
that shifts every logit by up to 2e-4, and its float32 form would inherit the shift.
"""

from typing import Any

import onnx_ir as ir
from onnxscript import opset20 as op


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(scale · query keyᵀ) value on [batch, heads, tokens, channels], arXiv:1706.03762."""
    if attn_mask is not None or is_causal or enable_gqa:
        raise NotImplementedError("only full attention without a mask is exported")
    factor = op.Constant(value_float=scale or query.shape[-1] ** -0.5)
    wide = op.Mul(op.Cast(query, to=ir.DataType.FLOAT), factor)
    scores = op.MatMul(op.CastLike(wide, query), op.Transpose(key, perm=[0, 1, 3, 2]))
    return op.MatMul(op.Softmax(scores, axis=-1), value)
