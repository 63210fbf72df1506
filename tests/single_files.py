"""Small random checkpoints of Stable Diffusion as single files.

The names in them are written by walking the libraries' networks in the order in which the original
code builds its own, so they owe nothing to the names that the product takes apart.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tests.compvis_checkpoints import State, original_unet, original_vae
from tests.stable_diffusion import END, SCHEDULE, make_stable_diffusion
from tests.stable_diffusion_xl import make_xl
from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.tokenizers.clip_vocabulary import write_clip_tokenizer
from trt_export.networks.weights.loading import load_networks

Generation = Literal["1.x", "2.x", "xl"]
Both = tuple[Path, Path]
"""A folder, and the same as one file."""
FIXTURES: Mapping[Generation, str] = {"1.x": "first", "2.x": "second", "xl": "xl"}
"""Of tests, which give both."""
UNET: dict[str, Any] = {"norm_num_groups": 32}
"""As every published model has it."""
WIDE: dict[str, Any] = {"block_out_channels": (64, 128), "attention_head_dim": (1, 2)}
"""Heads of 64 channels."""
VAE: dict[str, Any] = {"norm_num_groups": 32, "block_out_channels": (32, 32, 32, 32)}
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "num_attention_heads": 1,
    "vocab_size": 49408,
    "eos_token_id": 2,
}
"""CLIP's own vocabulary, and heads of 64 channels."""


def make_folder(folder: Path, generation: Generation, **unet: Any) -> Path:
    """A checkpoint whose single file says all that there is to say."""
    MAKERS[generation](folder, unet)
    for name in ("tokenizer", "tokenizer_2"):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
            pads = "!" if generation == "2.x" or name == "tokenizer_2" else END
            write_clip_tokenizer(folder / name, pad_token=pads)
    return folder


def _make_1(folder: Path, unet: Mapping[str, Any]) -> None:
    own = {"block_out_channels": (32, 64), "attention_head_dim": 8, "sample_size": 64}
    make_stable_diffusion(
        folder,
        text_encoder={**TEXT, "hidden_act": "quick_gelu"},
        vae=VAE,
        **{**UNET, **own, "cross_attention_dim": 64, **unet},
    )


def _make_2(folder: Path, unet: Mapping[str, Any]) -> None:
    own = {"sample_size": 96, "use_linear_projection": True, "upcast_attention": True}
    make_stable_diffusion(
        folder,
        text_encoder={**TEXT, "hidden_act": "gelu"},
        vae=VAE,
        scheduler=_v_prediction(),
        **{**UNET, **WIDE, **own, "cross_attention_dim": 64, **unet},
    )


def _make_xl(folder: Path, unet: Mapping[str, Any]) -> None:
    added = {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 96 + 6 * 8}
    second = {"hidden_size": 128, "num_attention_heads": 2, "projection_dim": 96}
    make_xl(
        folder,
        text_encoder={**TEXT, "hidden_act": "quick_gelu"},
        text_encoder_2={**TEXT, **second, "hidden_act": "gelu"},
        vae=VAE,
        **{**UNET, **WIDE, **added, "sample_size": 128, "cross_attention_dim": 192, **unet},
    )


MAKERS: Mapping[Generation, Callable[[Path, Mapping[str, Any]], None]] = {
    "1.x": _make_1,
    "2.x": _make_2,
    "xl": _make_xl,
}


def _v_prediction() -> DDIMScheduler:
    return DDIMScheduler(
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, **SCHEDULE
    )


def write_single_file(folder: Path, file: Path, generation: Generation) -> Path:
    """The weights of a folder in diffusers' layout as one file."""
    save_file(single_file_state(folder, generation), file)
    return file


def single_file_state(folder: Path, generation: Generation) -> State:
    """Its content: float32 as the folder has it."""
    networks: list[Any] = [UNet2DConditionModel.from_pretrained(folder / "unet")]
    networks += [AutoencoderKL.from_pretrained(folder / "vae")]
    networks += [CLIPTextModel.from_pretrained(folder / "text_encoder")]
    if generation == "xl":
        networks += [CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2")]
    state = original_state(generation, *networks)
    return {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}


def original_state(
    generation: Generation,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    text: CLIPTextModel,
    second: CLIPTextModelWithProjection | None = None,
) -> State:
    """The weights of networks under the names that a generation's files have."""
    state = _below("model.diffusion_model.", {**original_unet(unet), **_added(unet)})
    state |= _below("first_stage_model.", original_vae(vae))
    if generation == "1.x":
        state |= _below("cond_stage_model.transformer.", _clip(text))
    elif generation == "2.x":
        state |= _below("cond_stage_model.model.", open_clip(text))
    else:
        state |= _below("conditioner.embedders.0.transformer.", _clip(text))
        state |= _below("conditioner.embedders.1.model.", open_clip(second))
    return state


def _below(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _added(unet: UNet2DConditionModel) -> State:
    """Pooled text and sizes join the time through two layers with an activation between."""
    added = getattr(unet, "add_embedding", None)
    if added is None:
        return {}
    sequence = nn.Sequential(nn.Sequential(added.linear_1, nn.SiLU(), added.linear_2))
    return _below("label_emb.", sequence.state_dict())


def _clip(text: Any) -> State:
    """transformers' names as all its releases before 5.6 wrote them."""
    return {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in text.state_dict().items()
    }


def open_clip(text: Any) -> State:
    """Names of OpenCLIP's text tower, whose attention keeps three projections in one."""
    transformer = getattr(text, "text_model", text)
    embeddings = transformer.embeddings
    state = {
        "token_embedding.weight": embeddings.token_embedding.weight,
        "positional_embedding": embeddings.position_embedding.weight,
        **_below("ln_final.", transformer.final_layer_norm.state_dict()),
    }
    for number, layer in enumerate(transformer.encoder.layers):
        attention = layer.self_attn
        three = [attention.q_proj, attention.k_proj, attention.v_proj]
        places = {
            "ln_1": layer.layer_norm1,
            "ln_2": layer.layer_norm2,
            "mlp.c_fc": layer.mlp.fc1,
            "mlp.c_proj": layer.mlp.fc2,
            "attn.out_proj": attention.out_proj,
        }
        own = {
            "attn.in_proj_weight": torch.cat([one.weight for one in three]),
            "attn.in_proj_bias": torch.cat([one.bias for one in three]),
        }
        for place, module in places.items():
            own |= _below(f"{place}.", module.state_dict())
        state |= _below(f"transformer.resblocks.{number}.", own)
    if hasattr(text, "text_projection"):
        state["text_projection"] = text.text_projection.weight.T
    return state


def make_both(folder: Path, generation: Generation, **unet: Any) -> Both:
    made = make_folder(folder / "folder", generation, **unet)
    return made, write_single_file(made, folder / "model.safetensors", generation)


def change(file: Path, edit: Callable[[State], object], **metadata: str) -> Path:
    state = load_file(file)
    edit(state)
    save_file(state, file, metadata or None)
    return file


def settings_of(network: Any) -> dict[str, Any]:
    """A configuration without what changes nothing."""
    config = network.config if isinstance(network.config, dict) else network.config.to_dict()
    unread = {"_class_name", "_diffusers_version", "_use_default_values", "_name_or_path"}
    unread |= {"architectures", "dtype", "initializer_factor", "transformers_version"}
    unread |= {"bos_token_id", "pad_token_id", "sample_size", "force_upcast", "upcast_attention"}
    unread |= {"projection_dim"} if "hidden_act" in config else set()
    return {name: value for name, value in config.items() if name not in unread}


def assert_same_networks_of(folder: Checkpoint, file: Checkpoint) -> None:
    theirs, ours = (load_networks(one, "fp32") for one in (folder, file))
    for role in folder.weights:
        known, found = (getattr(networks, role).module for networks in (theirs, ours))
        assert settings_of(found) == settings_of(known)
        expected, loaded = known.state_dict(), found.state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)
