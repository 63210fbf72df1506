"""A small random model in both layouts: diffusers' folder and CompVis' file.

CompVis' names are written by walking diffusers' networks in the order in which CompVis' code builds
its own, so they owe nothing to the names that the product takes apart.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from torch import Tensor, nn

from tests.checkpoints import edit_json
from trt_export.twin import TEXT_TO_IMAGE as PUBLISHED

State = dict[str, Tensor]

UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 48,
}
VAE: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "scaling_factor": 0.2,
}
BERT: dict[str, Any] = {"d_model": 48, "encoder_ffn_dim": 192, "encoder_layers": 2}
SCHEDULER = {"beta_schedule": "scaled_linear", "steps_offset": 1, "set_alpha_to_one": False}

CONFIG: dict[str, Any] = {
    "target": "ldm.models.diffusion.ddpm.LatentDiffusion",
    "base_learning_rate": 5e-05,
    "params": {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "log_every_t": 200,
        "timesteps": 1000,
        "conditioning_key": "crossattn",
        "scale_factor": 0.2,
        "use_ema": False,
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": {
                "image_size": 8,
                "in_channels": 4,
                "out_channels": 4,
                "model_channels": 32,
                "attention_resolutions": [1],
                "num_res_blocks": 1,
                "channel_mult": [1, 2],
                "num_heads": 4,
                "use_spatial_transformer": True,
                "transformer_depth": 1,
                "context_dim": 48,
                "use_checkpoint": True,
                "legacy": False,
            },
        },
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {
                "embed_dim": 4,
                "monitor": "val/rec_loss",
                "ddconfig": {
                    "double_z": True,
                    "z_channels": 4,
                    "resolution": 16,
                    "in_channels": 3,
                    "out_ch": 3,
                    "ch": 32,
                    "ch_mult": [1, 2],
                    "num_res_blocks": 1,
                    "attn_resolutions": [],
                    "dropout": 0.0,
                },
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
        "cond_stage_config": {
            "target": "ldm.modules.encoders.modules.BERTEmbedder",
            "params": {"n_embed": 48, "n_layer": 2},
        },
    },
}


def make_both(folder: Path, levels: int = 2) -> tuple[Path, Path]:
    """Write one model twice: a folder in diffusers' layout, and a .ckpt with its YAML.

    levels: of the UNet and the VAE, 1 or 2; tracing fewer takes less time.
    """
    torch.manual_seed(0)
    unet, vae = UNet2DConditionModel(**_cut(UNET, levels)), AutoencoderKL(**_cut(VAE, levels))
    bert = LDMBertModel(LDMBertConfig(**BERT))
    twin, file = folder / "diffusers", folder / "compvis" / "small.ckpt"
    shutil.copytree(PUBLISHED, twin)
    unet.save_pretrained(twin / "unet")
    vae.save_pretrained(twin / "vqvae")
    bert.save_pretrained(twin / "bert")
    edit_json(twin / "scheduler" / "scheduler_config.json", **SCHEDULER)
    file.parent.mkdir()
    state = original_state(unet, vae, bert)
    torch.save({"state_dict": state, "global_step": 7, "lr_schedulers": []}, file)
    widths = [1, 2][:levels]
    settings = {
        "unet_config.params.channel_mult": widths,
        "first_stage_config.params.ddconfig.ch_mult": widths,
    }
    write_config(file.with_name("config.yaml"), **settings)
    return twin, file


def _cut(config: dict[str, Any], levels: int) -> dict[str, Any]:
    """A configuration of the first levels only; those of the way up are listed backwards."""
    down = ("block_out_channels", "down_block_types")
    cut = {name: config[name][:levels] for name in down}
    return {**config, **cut, "up_block_types": config["up_block_types"][-levels:]}


def write_config(path: Path, model: Mapping[str, Any] = CONFIG, /, **changes: Any) -> Path:
    """Write a model's YAML with other settings; a dotted name leads below model.params."""
    config = json.loads(json.dumps(model))
    for name, value in changes.items():
        *sections, last = name.split(".")
        section = config["params"]
        for part in sections:
            section = section[part]
        section[last] = value
    path.write_text(yaml.safe_dump({"model": config}))
    return path


def original_state(
    unet: UNet2DConditionModel, vae: AutoencoderKL, bert: LDMBertModel
) -> dict[str, Tensor]:
    """The weights as CompVis' LatentDiffusion keeps them, with some of its buffers."""
    state = {f"model.diffusion_model.{name}": t for name, t in original_unet(unet).items()}
    state |= {f"first_stage_model.{name}": t for name, t in original_vae(vae).items()}
    state |= {f"cond_stage_model.transformer.{name}": t for name, t in original_bert(bert).items()}
    return {**state, "betas": torch.zeros(1000), "sqrt_alphas_cumprod": torch.zeros(1000)}


def original_unet(unet: UNet2DConditionModel) -> State:
    """Names of UNetModel."""
    down: list[list[nn.Module]] = [[unet.conv_in]]
    for block in unet.down_blocks:
        down += _layers(block)
        down += [[nn.ModuleDict({"op": one.conv})] for one in block.downsamplers or ()]
    up: list[list[nn.Module]] = []
    for block in unet.up_blocks:
        layers = _layers(block)
        layers[-1] += [nn.ModuleDict({"conv": one.conv}) for one in block.upsamplers or ()]
        up += layers
    state = _put("middle_block", _middle(unet.mid_block))
    for number, block in enumerate(down):
        state |= _put(f"input_blocks.{number}", block)
    for number, block in enumerate(up):
        state |= _put(f"output_blocks.{number}", block)
    time, identity = unet.time_embedding, nn.Identity()
    state |= _put("time_embed", [time.linear_1, identity, time.linear_2])
    return state | _put("out", [unet.conv_norm_out, identity, unet.conv_out])


def _middle(block: Any) -> list[nn.Module]:
    """Of distilled models, nothing or one ResNet block."""
    if block is None or len(block.attentions) == 0:
        return [*block.resnets] if block else []
    return [block.resnets[0], block.attentions[0], block.resnets[1]]


def _layers(block: Any) -> list[list[nn.Module]]:
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    pairs = zip(block.resnets, attentions, strict=True)
    return [[resnet] if attention is None else [resnet, attention] for resnet, attention in pairs]


def _put(prefix: str, modules: Iterable[nn.Module]) -> State:
    return {
        f"{prefix}.{place}.{name}": tensor
        for place, module in enumerate(modules)
        for name, tensor in _resnet(module).items()
    }


def _resnet(module: nn.Module) -> State:
    """A ResBlock's layers in their sequences; other modules' names are the same in both codes."""
    if not hasattr(module, "time_emb_proj"):
        return dict(module.state_dict())
    places = {
        "in_layers.0": module.norm1,
        "in_layers.2": module.conv1,
        "emb_layers.1": module.time_emb_proj,
        "out_layers.0": module.norm2,
        "out_layers.3": module.conv2,
    }
    if module.conv_shortcut is not None:
        places["skip_connection"] = module.conv_shortcut
    return _named(places)


def _named(modules: Mapping[str, Any]) -> State:
    return {
        f"{place}.{name}": tensor
        for place, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def original_vae(vae: AutoencoderKL) -> State:
    """Names of AutoencoderKL; its decoder counts levels from the full size."""
    places: dict[str, Any] = {"quant_conv": vae.quant_conv, "post_quant_conv": vae.post_quant_conv}
    for half, network in (("encoder", vae.encoder), ("decoder", vae.decoder)):
        places[f"{half}.conv_in"] = network.conv_in
        places[f"{half}.norm_out"] = network.conv_norm_out
        places[f"{half}.conv_out"] = network.conv_out
        for number, resnet in enumerate(network.mid_block.resnets, 1):
            places[f"{half}.mid.block_{number}"] = resnet
    for number, block in enumerate(vae.encoder.down_blocks):
        places |= _level(f"encoder.down.{number}", block, "downsample", block.downsamplers)
    for number, block in enumerate(reversed(vae.decoder.up_blocks)):
        places |= _level(f"decoder.up.{number}", block, "upsample", block.upsamplers)
    state = {name.replace("conv_shortcut", "nin_shortcut"): t for name, t in _named(places).items()}
    return (
        state
        | _attention("encoder.mid.attn_1", vae.encoder)
        | _attention("decoder.mid.attn_1", vae.decoder)
    )


def _level(prefix: str, block: Any, change: str, changers: Any) -> dict[str, Any]:
    places = {f"{prefix}.block.{number}": one for number, one in enumerate(block.resnets)}
    return places | {f"{prefix}.{change}": one for one in changers or ()}


def _attention(prefix: str, network: Any) -> State:
    """1 × 1 convolutions instead of matrices."""
    attention = network.mid_block.attentions[0]
    named = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v}
    matrices = _named({**named, "proj_out": attention.to_out[0]})
    state = {
        name: tensor[:, :, None, None] if name.endswith("weight") else tensor
        for name, tensor in matrices.items()
    } | _named({"norm": attention.group_norm})
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def original_bert(bert: LDMBertModel) -> State:
    """Names of TransformerWrapper, whose attentions and feed-forwards take turns."""
    model = bert.model
    places: dict[str, Any] = {
        "token_emb": model.embed_tokens,
        "pos_emb.emb": model.embed_positions,
        "norm": model.layer_norm,
        "to_logits": bert.to_logits,
    }
    for number, layer in enumerate(model.layers):
        first, second = (f"attn_layers.layers.{2 * number + kind}" for kind in (0, 1))
        places |= {
            f"{first}.0": layer.self_attn_layer_norm,
            f"{first}.1.to_q": layer.self_attn.q_proj,
            f"{first}.1.to_k": layer.self_attn.k_proj,
            f"{first}.1.to_v": layer.self_attn.v_proj,
            f"{first}.1.to_out": layer.self_attn.out_proj,
            f"{second}.0": layer.final_layer_norm,
            f"{second}.1.net.0.0": layer.fc1,
            f"{second}.1.net.2": layer.fc2,
        }
    return _named(places)
