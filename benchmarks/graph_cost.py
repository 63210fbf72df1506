"""What one step of a bundle's denoiser costs: FLOP and bytes of weights, counted on its graph.

OpenVINO works out every shape; nothing is run. A multiply-add counts as 2 FLOP, and only
convolutions and matrix products are counted.
"""

from math import prod
from typing import Any

from trt_pipeline import Bundle
from trt_pipeline.backends.openvino import import_openvino
from trt_pipeline.bundle.manifest import TensorSpec


def step_flop(bundle: Bundle, batch: int) -> float:
    """FLOP of one step at the native size with guidance: two rows a sample."""
    return sum(flop(operation) for operation in step_model(bundle, batch).get_ordered_ops())


def step_model(bundle: Bundle, batch: int) -> Any:
    """OpenVINO's model of such a step, of fixed shapes."""
    spec = bundle.graph("denoiser", "fp32")
    factor = bundle.model.vae_scale_factor
    sizes = {
        "batch": batch,
        "rows": 2 * batch,
        "latent_height": bundle.defaults.height // factor,
        "latent_width": bundle.defaults.width // factor,
    }
    model = import_openvino().Core().read_model(bundle.file(spec.path))
    model.reshape({tensor.name: _shape(tensor, sizes) for tensor in spec.inputs})
    return model


def _shape(tensor: TensorSpec, sizes: dict[str, int]) -> list[int]:
    return [sizes[dim] if isinstance(dim, str) else dim for dim in tensor.shape]


def flop(operation: Any) -> float:
    """FLOP of one OpenVINO operation of known shapes."""
    kind = operation.get_type_name()
    if kind not in ("Convolution", "MatMul"):
        return 0
    result: tuple[int, ...] = tuple(operation.get_output_shape(0))
    first, second = (tuple(map(int, operation.get_input_shape(at))) for at in (0, 1))
    if kind == "Convolution":
        return 2.0 * prod(result) * prod(second[1:])
    return 2.0 * prod(result) * first[-2 if operation.get_attributes()["transpose_a"] else -1]


def step_bytes(bundle: Bundle, number_bytes: int) -> float:
    """Bytes of the denoiser's weights at so many bytes a number; a step reads each once."""
    stored = bundle.files[bundle.graph("denoiser", "fp32").weights].size
    return stored / (2 if bundle.precision == "fp16" else 4) * number_bytes
