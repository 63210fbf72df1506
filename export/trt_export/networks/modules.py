"""PyTorch modules from a checkpoint's files, with every weight accounted for."""

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from safetensors.torch import load_file
from torch import Tensor, nn

from trt_export.checkpoint.compvis import CompVisCheckpoint
from trt_export.checkpoint.compvis_weights import component_weights
from trt_export.checkpoint.config_bounds import check_bounds
from trt_export.checkpoint.folder import Checkpoint
from trt_export.networks.precision import round_weights
from trt_pipeline.bundle.manifest import Precision
from trt_pipeline.errors import CheckpointError

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Of weights that are exported."""
UNUSED = re.compile(r"to_logits\.(weight|bias)")
"""LDMBert's output layer: the pipeline reads hidden states only."""

# Weights saved before diffusers 0.12 call an attention block's layers by other names.
OLD_ATTENTION = re.compile(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.")
NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

Build: TypeAlias = Callable[[dict[str, Any]], nn.Module]
"""Makes a network from its configuration."""

PLAIN_UNET = {
    "addition_embed_type": (None,),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_class_embeds": (None,),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
}
"""Settings of UNet2DConditionModel that add inputs or steps which the graphs don't have."""
PLAIN_TEXTLESS_UNET = {
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "downsample_type": ("conv",),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_type": ("positional",),
    "upsample_type": ("conv",),
}
"""Likewise of UNet2DModel."""
PLAIN_VQ = {"lookup_from_codebook": (False,), "norm_type": ("group",)}
"""Likewise of VQModel."""


@dataclass(frozen=True, slots=True)
class Modules:
    """The networks of a checkpoint, in float32 and evaluation mode."""

    bert: Any
    """LDMBertModel, or None without prompts."""
    unet: Any
    """UNet2DConditionModel, or UNet2DModel without prompts."""
    vqvae: Any
    """AutoencoderKL or VQModel."""


def load_modules(checkpoint: Checkpoint, precision: Precision) -> Modules:
    """Build the networks and load their weights, rounded to the precision they will be stored in.

    CheckpointError names what does not fit.
    """

    def load(component: str) -> Any:
        module = _load(checkpoint, component)
        if precision == "fp16":
            round_weights(component, module)
        return module

    bert = load("bert") if "bert" in checkpoint.weights else None
    return Modules(bert, load("unet"), load("vqvae"))


def _bert(config: dict[str, Any]) -> LDMBertModel:
    if config.get("max_position_embeddings", 77) != 77:
        raise ValueError("max_position_embeddings must be 77, as the pipeline pads to it")
    bert = LDMBertModel(LDMBertConfig.from_dict(config))
    bert.to_logits = nn.Identity()
    return bert


def _unet(config: dict[str, Any]) -> UNet2DConditionModel:
    return _plain(UNet2DConditionModel.from_config(config), PLAIN_UNET)


def _textless_unet(config: dict[str, Any]) -> UNet2DModel:
    return _plain(UNet2DModel.from_config(config), PLAIN_TEXTLESS_UNET)


def _plain(model: Any, plain: Mapping[str, tuple[Any, ...]]) -> Any:
    """The model; ValueError for a setting that its graphs don't have."""
    for setting, supported in plain.items():
        if model.config[setting] not in supported:
            raise ValueError(
                f"{setting} is {model.config[setting]!r}; only {supported[0]!r} is exported"
            )
    return model


def _vq(config: dict[str, Any]) -> VQModel:
    return _plain(VQModel.from_config(config), PLAIN_VQ)


BUILDERS: Mapping[str, Build] = {
    "LDMBertModel": _bert,
    "UNet2DConditionModel": _unet,
    "UNet2DModel": _textless_unet,
    "AutoencoderKL": AutoencoderKL.from_config,
    "VQModel": _vq,
}


def build_empty(checkpoint: Checkpoint, component: str) -> Any:
    """A network without weights, on the meta device; CheckpointError if it cannot be."""
    config = checkpoint.config(component)
    try:
        check_bounds(config)
        with torch.device("meta"):
            return BUILDERS[checkpoint.class_of(component)](config)
    except (
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        ZeroDivisionError,
        RuntimeError,
        AttributeError,
    ) as error:
        raise CheckpointError(
            f"{checkpoint.configs[component]} makes no {checkpoint.class_of(component)}: "
            f"{_first_line(error)}."
        ) from None


def _load(checkpoint: Checkpoint, component: str) -> Any:
    module, path = build_empty(checkpoint, component), checkpoint.weights[component]
    state: Mapping[str, Tensor] = read_weights(path)
    if isinstance(checkpoint, CompVisCheckpoint):
        state = component_weights(checkpoint, component, state)
    _assign(module, state, path)
    return module.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weight file without running code from it; CheckpointError if that is not possible.

    Of a Lightning checkpoint, the weights are its "state_dict".
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mmap = zipfile.is_zipfile(path)  # files from before torch 1.6 cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no file of tensors, or loading it could run code; refused "
            f"({_refused_part(error)}). Convert it to safetensors where you trust it."
        ) from None
    except Exception as error:  # damaged pickles end in errors of every kind
        raise CheckpointError(
            f"{path} is damaged or incomplete ({_first_line(error)}). Download it again."
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{path} holds no table of tensors. Download it again.")
    return state


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _refused_part(error: Exception) -> str:
    """What torch did not take, without its advice to load the file all the same."""
    found = re.search(r"GLOBAL [\w.]+|Unsupported [^.\n]{1,80}", str(error))
    return found[0] if found else type(error).__name__


def _assign(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give every parameter its weight, as float32."""
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    weights = {_current_name(name): t for name, t in state.items() if not UNUSED.match(name)}
    _check_names(expected, weights, path)
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(weights[name].shape)}, but its configuration "
                f"asks for {tuple(shape)}."
            )
        _check_stored(weights[name], name, path)
        weights[name] = weights[name].float()
        if not bool(weights[name].isfinite().all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers.")
    module.load_state_dict(weights, strict=False, assign=True)


def _check_stored(weight: Tensor, name: str, path: Path) -> None:
    """A pickle may say that one number in the file is a tensor of millions, or that none is."""
    if weight.dtype not in DTYPES or weight.device.type != "cpu" or weight.layout != torch.strided:
        raise CheckpointError(
            f"{path}: {name} is a {weight.layout} tensor of {weight.dtype} on {weight.device}, "
            "expected plain floating-point numbers."
        )
    if weight.nbytes > weight.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name} is larger than what the file has of it.")


def _check_names(expected: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    missing, unknown = sorted(expected.keys() - found), sorted(found.keys() - expected)
    if missing or unknown:
        listed = [f"{len(missing)} missing (first: {missing[0]})"] if missing else []
        listed += [f"{len(unknown)} unknown (first: {unknown[0]})"] if unknown else []
        raise CheckpointError(
            f"{path} does not fit its configuration: of {len(expected)} weights, "
            f"{' and '.join(listed)}."
        )


def _current_name(name: str) -> str:
    return OLD_ATTENTION.sub(lambda found: f"{found[1]}.{NEW_ATTENTION[found[2]]}.", name)
