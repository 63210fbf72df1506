"""A UNet's configuration in diffusers, from the shapes of its weights under CompVis' names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trt_export.checkpoint.files.tensors import Shapes
from trt_export.checkpoint.single_files.shapes import numbers_in, shape_of


@dataclass(frozen=True, slots=True)
class Level:
    """ResNet blocks between two changes of size, on one side of the UNet."""

    depths: tuple[int, ...]
    """Transformer blocks behind each; 0 where there is no attention."""

    @property
    def attends(self) -> bool:
        """Whether it has attention."""
        return any(self.depths)

    @property
    def depth(self) -> int | list[int]:
        """As diffusers has it: one number if it is the same for all."""
        return self.depths[0] if len({*self.depths}) == 1 else list(self.depths)


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """What the shapes say; ValueError for a UNet that diffusers cannot build so."""
    down, channels = _down(shapes)
    layers = len(down[0].depths)
    _check_layers(down, layers)
    up = _up(shapes, len(down), layers + 1)
    width, in_channels, *_ = shape_of(shapes, "input_blocks.0.0.weight", 4)
    config = {
        "in_channels": in_channels,
        "out_channels": shape_of(shapes, "out.2.weight", 4)[0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": [_kind(level, "Down") for level in down],
        "up_block_types": [_kind(level, "Up") for level in up],
        **_transformers(shapes, down, up),
    }
    if channels[0] != width:
        raise ValueError(f"its first level has {channels[0]} channels, but its input {width}")
    embedded = shape_of(shapes, "time_embed.0.weight", 2)[0]
    if embedded != 4 * width:
        config["time_embedding_dim"] = embedded
    if shape_of(shapes, "input_blocks.1.0.emb_layers.1.weight", 2)[0] == 2 * width:
        config["resnet_time_scale_shift"] = "scale_shift"
    return config


def _down(shapes: Shapes) -> tuple[list[Level], list[int]]:
    """The levels of the way down, and the channels of each."""
    depths: list[list[int]] = [[]]
    channels: list[list[int]] = [[]]
    for index in range(1, _count(shapes, "input_blocks")):
        if f"input_blocks.{index}.0.op.weight" in shapes:
            depths.append([])
            channels.append([])
        else:
            depths[-1].append(_depth(shapes, f"input_blocks.{index}.1."))
            made = shape_of(shapes, f"input_blocks.{index}.0.out_layers.3.weight", 4)[0]
            channels[-1].append(made)
    for level in channels:
        if len({*level}) != 1:
            raise ValueError(f"a level of its UNet has {level} channels, expected one number")
    return [Level(tuple(one)) for one in depths], [level[0] for level in channels]


def _up(shapes: Shapes, levels: int, layers: int) -> list[Level]:
    """The levels of the way up, from the smallest size on."""
    count = _count(shapes, "output_blocks")
    if count != levels * layers:
        raise ValueError(f"its UNet has {count} output_blocks, expected {levels * layers}")
    depths = [_depth(shapes, f"output_blocks.{index}.1.") for index in range(count)]
    return [Level(tuple(depths[start : start + layers])) for start in range(0, count, layers)]


def _check_layers(down: Sequence[Level], layers: int) -> None:
    if any(len(level.depths) != layers for level in down):
        listed = [len(level.depths) for level in down]
        raise ValueError(f"the levels of its UNet have {listed} blocks, expected as many on each")


def _kind(level: Level, way: str) -> str:
    if level.attends and 0 in level.depths:
        raise ValueError("a level of its UNet has attention behind some blocks only")
    return f"CrossAttn{way}Block2D" if level.attends else f"{way}Block2D"


def _transformers(shapes: Shapes, down: list[Level], up: list[Level]) -> dict[str, Any]:
    """What diffusers says of attention; the middle has the last level's depth."""
    keys = [name for name in shapes if name.endswith(".attn2.to_k.weight")]
    widths = {shape_of(shapes, name, 2)[1] for name in keys}
    linear = {len(shape) == 2 for name, shape in shapes.items() if name.endswith("proj_in.weight")}
    if len(widths) != 1 or len(linear) != 1:
        raise ValueError(
            f"its UNet reads text of the widths {sorted(widths)}, expected cross-attention of one "
            "width and one kind of projection"
        )
    depths = [level.depth or 1 for level in down]
    middle = _depth(shapes, "middle_block.1.")
    if middle and down[-1].attends and down[-1].depths[0] != middle:
        raise ValueError(
            f"the middle of its UNet has {middle} transformer blocks, expected "
            f"{down[-1].depths[0]} as its last level"
        )
    if middle and not down[-1].attends:
        depths[-1] = middle
    config = {
        "cross_attention_dim": widths.pop(),
        "use_linear_projection": linear.pop(),
        "transformer_layers_per_block": depths[0] if _all_equal(depths) else depths,
        "mid_block_type": _middle(shapes, middle),
    }
    if not _mirrors(down, up):
        config["reverse_transformer_layers_per_block"] = [level.depth or 1 for level in up]
    return config


def _middle(shapes: Shapes, depth: int) -> str | None:
    """The class of the middle, which distilled models may have without attention, or not at all."""
    if depth:
        return "UNetMidBlock2DCrossAttn"
    return "UNetMidBlock2D" if numbers_in(shapes, r"middle_block\.(\d+)\..*") else None


def _mirrors(down: Sequence[Level], up: Sequence[Level]) -> bool:
    """Whether diffusers would make the way up from the depths of the way down."""
    return all(
        not above.attends or (len({*above.depths}) == 1 and above.depth == below.depth)
        for above, below in zip(up, reversed(down), strict=True)
    )


def _all_equal(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _count(shapes: Shapes, group: str) -> int:
    """How many blocks a group has."""
    return len(numbers_in(shapes, rf"{group}\.(\d+)\..*"))


def _depth(shapes: Shapes, prefix: str) -> int:
    """How many transformer blocks lie below a name."""
    return len(numbers_in(shapes, rf"{re.escape(prefix)}transformer_blocks\.(\d+)\..*"))
