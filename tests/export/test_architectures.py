"""Settings of diffusers' networks that are exported: each gives what diffusers has."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.architectures import DEEP, PLAIN, RESNET, TEXT, Changes, blocks, write
from trt_export.checkpoint.folder import Checkpoint
from trt_export.networks.graphs import checked_inputs, modules, signatures, traced_inputs
from trt_export.networks.reference.answers import reference_outputs
from trt_export.networks.shape_check import check_shapes
from trt_export.networks.signatures import graph_outputs
from trt_export.networks.weights.loading import Networks, empty_networks
from trt_export.networks.weights.precision import store_half


def with_weights(networks: Networks) -> Networks:
    """The networks with random weights."""
    generator = torch.Generator().manual_seed(0)
    for part in (networks.text_encoder, networks.unet, networks.vae):
        if part is not None:
            part.module.to_empty(device="cpu").eval()
            for parameter in part.module.parameters():
                size = 0.5 / max(parameter[0].numel(), 1) ** 0.5 if parameter.ndim > 1 else 0.1
                parameter.data.normal_(0, size, generator=generator)
    return networks


def answers(networks: Networks, checkpoint: Checkpoint) -> dict[str, tuple[Tensor, Tensor]]:
    """Output of a graph → what its module makes, and what diffusers' network does."""
    inputs = checked_inputs(networks, signatures(networks, checkpoint.family, "fp32"))
    expected = reference_outputs(networks, inputs)
    flowing = {name: t for outputs in expected.values() for name, t in outputs.items()}
    for step in ("denoiser", "cached_denoiser"):
        inputs[step] = {name: flowing.get(name, t) for name, t in inputs[step].items()}
    found = {}
    for graph, module in modules(networks, checkpoint.family):
        outputs = module(**inputs[graph])
        named = outputs if isinstance(outputs, tuple) else (outputs,)
        for output, tensor in zip(graph_outputs(graph, inputs[graph]), named, strict=True):
            found[f"{graph}.{output}"] = tensor.float(), expected[graph][output].float()
    return found


EXPORTED: list[tuple[str, Changes]] = [
    (TEXT, {}),
    (TEXT, {"unet": {"resnet_time_scale_shift": "scale_shift", "mid_block_type": None}}),
    (TEXT, {"unet": {"act_fn": "mish", "mid_block_type": "UNetMidBlock2D", "dropout": 0.3}}),
    (TEXT, {"unet": {"act_fn": "gelu", **blocks(*RESNET), "resnet_skip_time_act": True}}),
    (TEXT, {"unet": {"act_fn": "relu", **blocks(*RESNET), "resnet_out_scale_factor": 1.4}}),
    (TEXT, {"unet": {"only_cross_attention": [True, False], "use_linear_projection": True}}),
    (TEXT, {"unet": {"only_cross_attention": True, "upcast_attention": True}}),
    (TEXT, {"unet": {"cross_attention_dim": [16, 16], "attention_head_dim": [2, 4]}}),
    (TEXT, {"unet": {"cross_attention_dim": [16, 24], "mid_block_type": None}}),
    (TEXT, {"unet": {"attention_head_dim": 3, "layers_per_block": [1, 2]}}),
    (TEXT, {"unet": {"transformer_layers_per_block": [2, 1], "norm_eps": 1e-3}}),
    (
        TEXT,
        {
            "unet": {
                "transformer_layers_per_block": [[2], [1]],
                "reverse_transformer_layers_per_block": [[1, 1], [1, 2]],
            }
        },
    ),
    (TEXT, {"unet": {"conv_in_kernel": 1, "conv_out_kernel": 5, "downsample_padding": 0}}),
    (TEXT, {"unet": {"timestep_post_act": "silu", "time_embedding_act_fn": "gelu"}}),
    (TEXT, {"unet": {"time_embedding_dim": 23, "freq_shift": 1, "flip_sin_to_cos": False}}),
    (TEXT, {"unet": {"mid_block_scale_factor": 2.0, "norm_num_groups": 8}}),
    (TEXT, {"unet": {"sample_size": 9, "mid_block_only_cross_attention": True}}),
    (
        TEXT,
        {
            "unet": blocks(
                ["CrossAttnDownBlock2D", "AttnDownBlock2D"], ["AttnUpBlock2D", "CrossAttnUpBlock2D"]
            )
        },
    ),
    (TEXT, {"vae": {"use_quant_conv": False, "use_post_quant_conv": False, "act_fn": "gelu"}}),
    (TEXT, {"vae": {"mid_block_add_attention": False, "sample_size": [32, 32]}}),
    (
        TEXT,
        {"vae": blocks(["AttnDownEncoderBlock2D"] * 2, ["AttnUpDecoderBlock2D"] * 2)},
    ),
    (TEXT, {"text_encoder": {"activation_function": "gelu_new", "head_dim": 7}}),
    (TEXT, {"text_encoder": {"activation_function": "quick_gelu", "scale_embedding": True}}),
    (PLAIN, {}),
    (PLAIN, {"unet": {"mid_block_type": None, "act_fn": "gelu"}}),
    (PLAIN, {"unet": {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 2}}),
    (PLAIN, {"unet": {"add_attention": False, "attention_head_dim": None}}),
    (PLAIN, {"unet": {"attention_head_dim": 5, "norm_num_groups": 8, "downsample_padding": 0}}),
    (
        PLAIN,
        {
            "unet": {
                **blocks(["AttnDownBlock2D"] * 2, ["AttnUpBlock2D"] * 2),
                "downsample_type": "resnet",
                "upsample_type": "resnet",
            }
        },
    ),
    (PLAIN, {"unet": {**DEEP, **blocks(["DownBlock2D"] * 4, ["UpBlock2D"] * 4)}}),
    (
        PLAIN,
        {
            "unet": {
                **DEEP,
                **blocks(["ResnetDownsampleBlock2D"] * 4, ["ResnetUpsampleBlock2D"] * 4),
            }
        },
    ),
    (PLAIN, {"unet": blocks(["UNetResDownBlock2D", "AttnDownBlock2D"], ["UpBlock2D"] * 2)}),
    (
        PLAIN,
        {"unet": {"in_channels": 5, "out_channels": 5}, "vae": {"vq_embed_dim": 5}},
    ),
    (PLAIN, {"vae": blocks(["AttnDownEncoderBlock2D"] * 2, ["AttnUpDecoderBlock2D"] * 2)}),
    (PLAIN, {"vae": {"act_fn": "relu", "mid_block_add_attention": False, "force_upcast": True}}),
]


@pytest.mark.parametrize(("family", "changes"), EXPORTED, ids=str)
def test_an_exported_setting_gives_what_diffusers_has(
    family: str, changes: Changes, tmp_path: Path
) -> None:
    checkpoint = write(tmp_path, family, changes)
    check_shapes(checkpoint, empty_networks(checkpoint))
    with torch.inference_mode():
        found = answers(with_weights(empty_networks(checkpoint)), checkpoint)
    for output, (ours, theirs) in found.items():
        allowed = 1.0 if output == "decoder.image" else 1e-4 * float(theirs.abs().max())
        assert theirs.std() > 0, output
        assert float((ours - theirs).abs().max()) <= allowed, output


@pytest.mark.parametrize(("family", "changes"), EXPORTED, ids=str)
def test_an_exported_setting_runs_in_half_precision(
    family: str, changes: Changes, tmp_path: Path
) -> None:
    checkpoint = write(tmp_path, family, changes)
    networks = with_weights(empty_networks(checkpoint))
    inputs = signatures(networks, checkpoint.family, "fp16")
    for graph, module in modules(networks, checkpoint.family):
        given = traced_inputs(networks, graph, inputs[graph])
        store_half(module)
        with torch.device("meta"), torch.no_grad():
            module.to("meta")(**{name: t.to("meta") for name, t in given.items()})


@pytest.mark.parametrize(
    ("family", "unet", "smallest", "whole"),
    [
        (TEXT, {}, 1, 1),
        (TEXT, {"downsample_padding": 0}, 2, 1),
        (TEXT, blocks(*RESNET), 2, 2),
        (PLAIN, {**DEEP, **blocks(["DownBlock2D"] * 4, ["UpBlock2D"] * 4)}, 1, 8),
        (
            PLAIN,
            {
                **DEEP,
                **blocks(["DownBlock2D", *["ResnetDownsampleBlock2D"] * 3], ["UpBlock2D"] * 4),
            },
            7,
            8,
        ),
    ],
    ids=str,
)
def test_a_unet_runs_at_every_size_that_is_promised(
    family: str, unet: dict[str, Any], smallest: int, whole: int, tmp_path: Path
) -> None:
    checkpoint = write(tmp_path, family, {"unet": unet})
    networks = empty_networks(checkpoint)
    assert (networks.unet.min_size, networks.unet.whole_size) == (smallest, whole)
    inputs = signatures(networks, checkpoint.family, "fp32")["denoiser"]
    given = dict(traced_inputs(networks, "denoiser", inputs))
    denoiser = dict(modules(networks, checkpoint.family))["denoiser"]
    sizes = range(smallest, smallest + 10)
    with torch.device("meta"), torch.inference_mode():
        for height, width in zip(sizes, reversed(sizes), strict=True):
            for name in ("latents", "history", "noise"):
                given[name] = torch.empty(*given[name].shape[:-2], height, width)
            moved = {name: t.to("meta") for name, t in given.items()}
            assert denoiser(**moved)[0].shape[-2:] == (height, width)
