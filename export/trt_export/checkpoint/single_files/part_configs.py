"""Configurations of the VAE and of text encoders, from the shapes of their weights."""

from collections.abc import Sequence
from typing import Any

from trt_export.checkpoint.files.tensors import Shapes
from trt_export.checkpoint.single_files.shapes import numbers_in, shape_of

HEAD_WIDTH = 64
"""Of every CLIP."""
WHOLE_TOWER, PENULTIMATE = 24, 23
"""Layers of the OpenCLIP that Stable Diffusion 2 was trained with, and those that it reads."""


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """What the shapes of a first stage say; ValueError if diffusers cannot build it so."""
    levels = numbers_in(shapes, r"encoder\.down\.(\d+)\..*")
    layers = [len(numbers_in(shapes, rf"encoder\.down\.{one}\.block\.(\d+)\..*")) for one in levels]
    if not layers or len({*layers}) != 1:
        raise ValueError(f"the levels of its VAE have {layers} blocks, expected as many on each")
    if numbers_in(shapes, r"(?:encoder\.down|decoder\.up)\.\d+\.attn\.(\d+)\..*"):
        raise ValueError("its VAE has attention beside its ResNet blocks")
    channels = [
        shape_of(shapes, f"encoder.down.{one}.block.0.conv1.weight", 4)[0] for one in levels
    ]
    return {
        "in_channels": shape_of(shapes, "encoder.conv_in.weight", 4)[1],
        "out_channels": shape_of(shapes, "decoder.conv_out.weight", 4)[0],
        "latent_channels": shape_of(shapes, "decoder.conv_in.weight", 4)[1],
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "layers_per_block": layers[0],
        "mid_block_add_attention": "encoder.mid.attn_1.norm.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }


def clip_config(shapes: Shapes) -> dict[str, Any]:
    """What the shapes of a text encoder under transformers' names say."""
    plain = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    vocabulary, width = shape_of(plain, "embeddings.token_embedding.weight", 2)
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "max_position_embeddings": shape_of(plain, "embeddings.position_embedding.weight", 2)[0],
        "intermediate_size": shape_of(plain, "encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": len(numbers_in(plain, r"encoder\.layers\.(\d+)\..*")),
        "num_attention_heads": _heads(width),
    }


def open_clip_config(shapes: Shapes, reads_last: bool) -> dict[str, Any]:
    """What the shapes of a text encoder under OpenCLIP's names say.

    reads_last: whether the pooled text is read, which the last layer makes.
    """
    vocabulary, width = shape_of(shapes, "token_embedding.weight", 2)
    layers = len(numbers_in(shapes, r"transformer\.resblocks\.(\d+)\..*"))
    config = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "max_position_embeddings": shape_of(shapes, "positional_embedding", 2)[0],
        "intermediate_size": shape_of(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "num_hidden_layers": layers if reads_last else layers_read(shapes, layers),
        "num_attention_heads": _heads(width),
    }
    if reads_last:
        config["projection_dim"] = shape_of(shapes, "text_projection", 2)[1]
    return config


def layers_read(shapes: Shapes, layers: int) -> int:
    """Without the last one of a whole tower, which Stable Diffusion 2 leaves out. A file that was
    made of a folder in diffusers' layout has neither that layer nor the projection behind it."""
    if layers == PENULTIMATE:
        return layers
    is_whole = layers == WHOLE_TOWER or "text_projection" in shapes
    return layers - 1 if is_whole else layers


def head_counts(channels: Sequence[int], width: int) -> list[int]:
    """Attention heads of each level; ValueError for a level that they do not divide."""
    wrong = [one for one in channels if one % width]
    if wrong:
        raise ValueError(f"its UNet has {wrong[0]} channels, which heads of {width} do not divide")
    return [one // width for one in channels]


def _heads(width: int) -> int:
    if width % HEAD_WIDTH:
        raise ValueError(
            f"its text encoder has a width of {width}, which heads of {HEAD_WIDTH} do not divide"
        )
    return width // HEAD_WIDTH
