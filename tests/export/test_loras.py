"""LoRAs fused at export: every spelling of their files, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor

from tests.loras import (
    ALPHA,
    RANK,
    Pair,
    State,
    as_diffusers,
    as_diffusers_before_peft,
    as_first_diffusers,
    as_kohya,
    attention,
    make_pairs,
)
from tests.shared import once
from tests.stable_diffusion import make_stable_diffusion, small_unet
from tests.stable_diffusion_xl import make_xl
from trt_export.checkpoint.adapters.files import LoraFile, lora_file
from trt_export.checkpoint.adapters.layer_names import names_of
from trt_export.checkpoint.adapters.lora_keys import lora_layers
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.cli import command as export_all
from trt_export.networks.weights.loading import Networks, empty_networks, load_networks
from trt_export.networks.weights.loras import check_loras, product
from trt_pipeline.errors import CheckpointError, InvalidInputError

SCALE = 0.5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = lambda at: make_stable_diffusion(at / "checkpoint")  # noqa: E731
    return once(tmp_path_factory, "stable-diffusion", make)


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> Networks:
    return load_networks(open_checkpoint(str(checkpoint)), "fp32")


def adapted(networks: Networks) -> dict[str, Any]:
    """The networks that LoRAs are for."""
    return {role: module for role, module in networks.modules.items() if role != "vae"}


def fused(checkpoint: Path, file: Path, scale: float = SCALE) -> Networks:
    """The networks with a LoRA, after the checks of a dry run."""
    opened = open_checkpoint(str(checkpoint), loras=[LoraFile(file, scale)])
    check_loras(opened.loras, empty_networks(opened).modules)
    return load_networks(opened, "fp32")


def weight_of(module: Any, layer: str) -> Tensor:
    """Of a layer, whose name may begin with text_model."""
    names = dict(module.named_modules())
    name = layer if layer in names else layer.removeprefix("text_model.")
    weight: Tensor = names[name].weight
    return weight


def assert_added(pairs: list[Pair], found: Networks, plain: Networks, factor: float) -> None:
    """Every pair's layer is changed as the arithmetic says, and no other."""
    before, after = adapted(plain), adapted(found)
    for pair in pairs:
        expected = pair.added(weight_of(before[pair.role], pair.layer), factor)
        torch.testing.assert_close(weight_of(after[pair.role], pair.layer), expected)
    changed = [
        name
        for role, module in after.items()
        for name, weight in module.state_dict().items()
        if not torch.equal(weight, before[role].state_dict()[name])
    ]
    assert len(changed) == len(pairs)


@pytest.mark.parametrize(
    ("spell", "chosen", "factor"),
    [
        (as_kohya, lambda _: True, SCALE * ALPHA / RANK),
        (as_diffusers, lambda _: True, SCALE),
        (as_diffusers_before_peft, lambda _: True, SCALE),
        (as_first_diffusers, attention, SCALE),
    ],
)
def test_a_lora_is_added_to_its_layers(
    spell: Callable[[list[Pair]], State],
    chosen: Callable[[str], bool],
    factor: float,
    checkpoint: Path,
    plain: Networks,
    tmp_path: Path,
) -> None:
    pairs = make_pairs(adapted(plain), chosen)
    save_file(spell(pairs), tmp_path / "lora.safetensors")
    assert_added(pairs, fused(checkpoint, tmp_path / "lora.safetensors"), plain, factor)


def test_the_scale_of_a_peft_model_is_beside_its_file(
    checkpoint: Path, plain: Networks, tmp_path: Path
) -> None:
    pairs = make_pairs({"unet": plain.unet.module}, attention)
    state = {
        f"base_model.model.{name.removeprefix('unet.')}": tensor
        for name, tensor in as_diffusers(pairs).items()
    }
    save_file(state, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json, which is not beside it"):
        fused(checkpoint, tmp_path / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "use_rslora": True, "bias": "none"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    assert lora_file(f"{tmp_path}:0.5").files[1].name == "adapter_config.json"
    found = fused(checkpoint, tmp_path / "adapter_model.safetensors")
    assert_added(pairs, found, plain, SCALE * 6 / 2)  # the root of the rank


def test_diffusers_keeps_the_scale_in_metadata(
    checkpoint: Path, plain: Networks, tmp_path: Path
) -> None:
    pairs = make_pairs(adapted(plain), lambda name: name.endswith(("attn1.to_q", "q_proj")))
    own = next(pair for pair in pairs if pair.role == "unet")
    settings = {
        "unet.r": RANK,
        "unet.lora_alpha": 1,
        "unet.alpha_pattern": {own.layer: 12},
        "text_encoder.lora_alpha": 3,
        "text_encoder.target_modules": ["q_proj"],
    }
    path = tmp_path / "lora.safetensors"
    save_file(as_diffusers(pairs), path, {"lora_adapter_metadata": json.dumps(settings)})
    before, after = adapted(plain), adapted(fused(checkpoint, path))
    alphas = {own.layer: 12.0} | {pair.layer: 3.0 for pair in pairs if pair.role != "unet"}
    for pair in pairs:
        factor = SCALE * alphas.get(pair.layer, 1.0) / RANK
        expected = pair.added(weight_of(before[pair.role], pair.layer), factor)
        torch.testing.assert_close(weight_of(after[pair.role], pair.layer), expected)


def test_the_first_files_of_diffusers_name_no_part(
    checkpoint: Path, plain: Networks, tmp_path: Path
) -> None:
    pairs = make_pairs({"unet": plain.unet.module}, attention)
    state = {name.removeprefix("unet."): one for name, one in as_first_diffusers(pairs).items()}
    torch.save(state, tmp_path / "pytorch_lora_weights.bin")
    assert_added(pairs, fused(checkpoint, tmp_path / "pytorch_lora_weights.bin"), plain, SCALE)


def test_a_unet_may_be_called_diffusion_model(
    checkpoint: Path, plain: Networks, tmp_path: Path
) -> None:
    """As in Stability's code, whose names of blocks then follow."""
    pairs = make_pairs({"unet": plain.unet.module}, lambda name: name == "conv_in")
    state = {
        name.replace("unet.conv_in", "diffusion_model.input_blocks.0.0"): one
        for name, one in as_diffusers(pairs).items()
    }
    save_file(state, tmp_path / "lora.safetensors")
    assert_added(pairs, fused(checkpoint, tmp_path / "lora.safetensors"), plain, SCALE)


def test_a_convolution_may_be_split_once_more() -> None:
    down, mid, up = torch.randn(2, 5, 1, 1), torch.randn(3, 2, 3, 3), torch.randn(7, 3, 1, 1)
    image = torch.randn(1, 5, 6, 6)
    one_by_one = torch.nn.functional.conv2d(
        torch.nn.functional.conv2d(torch.nn.functional.conv2d(image, down), mid), up
    )
    together = torch.nn.functional.conv2d(image, product(down, up, mid))
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=1e-5)


def test_loras_add_up(checkpoint: Path, plain: Networks, tmp_path: Path) -> None:
    pairs = make_pairs({"unet": plain.unet.module}, attention)
    path = tmp_path / "lora.safetensors"
    save_file(as_kohya(pairs), path)
    loras = (LoraFile(path, 0.75), LoraFile(path, -0.5))
    found = load_networks(open_checkpoint(str(checkpoint), loras=loras), "fp32")
    assert_added(pairs, found, plain, 0.25 * ALPHA / RANK)


@pytest.mark.filterwarnings("ignore")  # diffusers' remarks
def test_names_of_stabilitys_code_are_diffusers() -> None:
    """kohya's scripts train Stable Diffusion XL with that code; diffusers knows where it goes."""
    unet = small_unet(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        transformer_layers_per_block=[1, 1, 2],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80,
    )
    layers = [name for name, one in unet.named_modules() if hasattr(one, "weight")]
    table = names_of("unet", layers, 2)
    known = [
        name
        for name in table
        if re.match("(input|middle|output)_block|time_embed_|label_emb|out_2", name)
        and "." not in name
        and "norm" not in table[name]
    ]
    assert len(known) > 100
    state = {f"lora_unet_{name}.lora_down.weight": torch.zeros(1) for name in known}
    state |= {f"lora_unet_{name}.lora_up.weight": torch.zeros(1) for name in known}
    theirs, _ = StableDiffusionXLPipeline.lora_state_dict(state, unet_config=unet.config)
    places = {layer.name for layer in lora_layers(Path("lora"), theirs)}
    found = {table[name] for name in known}
    assert {table[name] for name in places} == found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lora_unet_conv_in.hada_w1_a", "belongs to a LoHa"),
        ("lora_unet_conv_in.lokr_w1", "belongs to a LoKr"),
        ("lora_unet_conv_in.dora_scale", "belongs to a DoRA"),
        ("unet.conv_in.lora_magnitude_vector.weight", "belongs to a DoRA"),
        ("lora_unet_conv_in.on_input", "belongs to an IA3"),
        ("lora_unet_conv_in.a1.weight", "belongs to a GLoRA"),
        ("lora_unet_conv_in.oft_blocks", "belongs to an OFT"),
        ("lora_unet_conv_in.diff_b", "belongs to a difference of whole weights"),
        ("unet.conv_in.lora_B.bias", "belongs to a LoRA with biases"),
        ("bundle_emb.token.string_to_param.*", "belongs to an embedding that is packed"),
        ("unet.conv_in.weight", "is not a LoRA's"),
        ("lora_unet_conv_9.lora_down.weight", "has no up"),
    ],
)
def test_other_adapters_are_refused_by_name(
    name: str, reason: str, checkpoint: Path, tmp_path: Path
) -> None:
    save_file({name: torch.zeros(1, 1)}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=reason):
        fused(checkpoint, tmp_path / "lora.safetensors")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"a_later_setting": 3}, "a_later_setting is 3"),
        ({"lora_alpha": "8"}, "an alpha is '8'"),
        ({"alpha_pattern": {"(a+)+": 1}}, "alpha_pattern has '(a+)+'"),
    ],
)
def test_settings_that_change_more_are_refused_by_name(
    change: dict[str, Any], reason: str, checkpoint: Path, plain: Networks, tmp_path: Path
) -> None:
    pairs = make_pairs({"unet": plain.unet.module}, lambda name: name == "conv_in")
    stated = {f"unet.{name}": value for name, value in ({"r": RANK} | change).items()}
    path = tmp_path / "lora.safetensors"
    save_file(as_diffusers(pairs), path, {"lora_adapter_metadata": json.dumps(stated)})
    with pytest.raises(CheckpointError, match=re.escape(reason)):
        fused(checkpoint, path)


def test_what_fits_no_layer_is_refused(checkpoint: Path, plain: Networks, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    pairs = make_pairs({"unet": plain.unet.module}, lambda name: name == "conv_in")
    state = as_kohya(pairs)
    save_file({n.replace("conv_in", "conv_inn"): one for n, one in state.items()}, path)
    with pytest.raises(CheckpointError, match="lora_unet_conv_inn fits no layer of the unet"):
        fused(checkpoint, path)
    save_file({n: one.flatten(1) if one.ndim else one for n, one in state.items()}, path)
    with pytest.raises(CheckpointError, match=r"do not multiply to the \(16, 4, 3, 3\) of conv_in"):
        fused(checkpoint, path)
    twice = {name: one.clone() for name, one in (state | as_diffusers(pairs)).items()}
    save_file(twice, path)
    with pytest.raises(CheckpointError, match="has one layer of the unet twice"):
        fused(checkpoint, path)


def test_a_lora_of_another_stable_diffusion_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    state = {f"{name}.lora_down.weight": torch.zeros(4, 2048)}
    state |= {f"{name}.lora_up.weight": torch.zeros(32, 4)}
    save_file(state, tmp_path / "xl.safetensors")
    with pytest.raises(
        CheckpointError, match=r"of width 2048 \(Stable Diffusion XL\), but this one reads 32"
    ):
        fused(checkpoint, tmp_path / "xl.safetensors")


def test_numbers_that_are_not_finite_are_refused(
    checkpoint: Path, plain: Networks, tmp_path: Path
) -> None:
    state = as_kohya(make_pairs({"unet": plain.unet.module}, lambda name: name == "conv_in"))
    state["lora_unet_conv_in.alpha"] = torch.tensor(float("nan"))
    save_file(state, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"conv_in\.alpha holds NaN"):
        fused(checkpoint, tmp_path / "lora.safetensors")


def test_a_scale_follows_the_last_colon(tmp_path: Path) -> None:
    plain, odd = tmp_path / "a.safetensors", tmp_path / "b:2"
    plain.touch()
    odd.touch()
    assert lora_file(str(plain)) == LoraFile(plain, 1.0)
    assert lora_file(f"{plain}:-0.5") == LoraFile(plain, -0.5)
    assert lora_file(str(odd)) == LoraFile(odd, 1.0)
    assert lora_file(f"{odd}:0.8") == LoraFile(odd, 0.8)
    with pytest.raises(InvalidInputError, match="the scale is 101, expected -100 to 100"):
        lora_file(f"{plain}:101")
    with pytest.raises(InvalidInputError, match=r"c\.safetensors:x is not a file"):
        lora_file(f"{tmp_path}/c.safetensors:x")


def test_a_dry_run_checks_loras(plain_checkpoint: Path, tmp_path: Path) -> None:
    """Of any checkpoint with a UNet."""
    networks = load_networks(open_checkpoint(str(plain_checkpoint)), "fp32")
    path = tmp_path / "lora.safetensors"
    save_file(as_kohya(make_pairs({"unet": networks.unet.module}, attention)), path)
    out = ("--out", str(tmp_path / "bundle"), "--dry-run", "--json")
    result = CliRunner().invoke(export_all, [str(plain_checkpoint), "--lora", f"{path}:2", *out])
    assert result.exit_code == 0, result.output
    assert "loras/0/lora.safetensors" in json.loads(result.stdout)["read_bytes"]
    assert json.loads(result.stdout)["loras"] == [f"{path}:2"]
    printed = CliRunner().invoke(
        export_all, [str(plain_checkpoint), "--lora", f"{path}:2", *out[:-1]]
    )
    assert f"  fuses {path}:2\n" in printed.stdout
    assert "None" not in printed.stdout
    save_file({"lora_te_x.alpha": torch.ones(1)}, path)
    result = CliRunner().invoke(export_all, [str(plain_checkpoint), "--lora", str(path), *out])
    assert isinstance(result.exception, CheckpointError)


@pytest.mark.filterwarnings("ignore")  # PEFT's and accelerate's
@pytest.mark.parametrize(
    ("spell", "chosen"),
    [
        (as_kohya, lambda _: True),
        (as_diffusers, lambda _: True),
        (as_diffusers_before_peft, lambda _: True),
        (as_first_diffusers, attention),
    ],
)
def test_diffusers_fuses_the_same(
    spell: Callable[[list[Pair]], State],
    chosen: Callable[[str], bool],
    checkpoint: Path,
    plain: Networks,
    tmp_path: Path,
) -> None:
    """Where peft is installed: diffusers cannot do without."""
    pytest.importorskip("peft")
    path = tmp_path / "lora.safetensors"
    save_file(spell(make_pairs(adapted(plain), chosen)), path)
    theirs = StableDiffusionPipeline.from_pretrained(checkpoint)
    theirs.load_lora_weights(str(tmp_path), weight_name=path.name)
    theirs.fuse_lora(lora_scale=SCALE)
    theirs.unload_lora_weights()
    found = adapted(fused(checkpoint, path))
    for role, module in found.items():
        expected = getattr(theirs, role).state_dict()
        for name, weight in module.state_dict().items():
            torch.testing.assert_close(weight, expected[name], atol=1e-6, rtol=1e-6)


def test_both_encoders_of_stable_diffusion_xl_take_theirs(tmp_path: Path) -> None:
    checkpoint = make_xl(tmp_path / "xl")
    plain = load_networks(open_checkpoint(str(checkpoint)), "fp32")
    pairs = make_pairs(adapted(plain), lambda name: name.endswith(("to_q", "fc1")))
    assert {pair.role for pair in pairs} == {"unet", "text_encoder", "text_encoder_2"}
    save_file(as_kohya(pairs, first="lora_te1"), tmp_path / "lora.safetensors")
    assert_added(pairs, fused(checkpoint, tmp_path / "lora.safetensors"), plain, SCALE / 2)
