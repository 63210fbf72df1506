"""The trainer trains, goes on where it was stopped, and writes what diffusers loads."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch.nn.functional import one_hot

from trt_export.shapes.batches import draw_batches
from trt_export.shapes.checkpoint_folder import read_checkpoint
from trt_export.shapes.denoiser import drawn_timesteps, input_ids, loss_weight, with_dropout
from trt_export.shapes.model import (
    VOCABULARY,
    ModelSize,
    Networks,
    build_bert,
    build_tokenizer,
    build_vae,
)
from trt_export.shapes.scenes import Scene, Shape
from trt_export.shapes.stage import StagePlan, Surroundings, TrainingState
from trt_export.shapes.text import (
    CELLS,
    CLASSES,
    COLOR_NAMES,
    FORM_NAMES,
    SIZE_NAMES,
    layout_loss,
    layouts,
    train_text_encoder,
)
from trt_export.shapes.train import Preset, main, only_one, train
from trt_export.shapes.vae import is_trained, shape_weight, train_vae

TINY = ModelSize(
    vae_channels=(8, 8, 8, 16),
    vae_norm_groups=4,
    unet_channels=(32, 32),
    unet_heads=2,
    text_width=16,
    text_layers=1,
    text_heads=2,
    text_feed_forward=32,
)
VAE_PLAN = StagePlan("vae", 6, 2, scenes=4, learning_rate=2e-3, warmup_steps=2)
TEXT_PLAN = StagePlan("text", 2, 1, scenes=2, learning_rate=1e-3)
DENOISER_PLAN = StagePlan("denoiser", 2, 1, scenes=2, learning_rate=1e-3, muon=True)
REFINEMENT_PLAN = StagePlan("refinement", 1, 1, scenes=1, learning_rate=1e-3, muon=True)
PRESET = Preset(replace(VAE_PLAN, steps=1), TEXT_PLAN, DENOISER_PLAN, REFINEMENT_PLAN)


def surroundings(work: Path) -> Surroundings:
    work.mkdir(exist_ok=True)
    return Surroundings(work=work, device=torch.device("cpu"), seed=3, workers=0)


def trained_weights(work: Path, *plans: StagePlan) -> torch.Tensor:
    for plan in plans:
        torch.manual_seed(0)
        vae = build_vae(TINY)
        train_vae(vae, plan, surroundings(work))
    return torch.cat([parameter.detach().flatten() for parameter in vae.parameters()])


def test_learning_rate_rises_stays_and_falls() -> None:
    plan = StagePlan("vae", steps=100, decay_steps=20, scenes=1, learning_rate=1.0, warmup_steps=10)
    rates = [plan.learning_rate_at(step) for step in (0, 9, 50, 80, 90, 99)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.5, 0.05])


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    first = surroundings(tmp_path)
    with only_one(first):
        with pytest.raises(SystemExit, match="another training is at work in"), only_one(first):
            pass
        with only_one(replace(first, rank=1)):
            pass
    with only_one(first):
        pass


def test_every_process_draws_other_scenes_in_every_step(tmp_path: Path) -> None:
    alone = surroundings(tmp_path)
    numbers = [
        replace(alone, processes=2, rank=rank).batch_number(step)
        for step in range(3)
        for rank in range(2)
    ]
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_workers_draw_the_same_batches_in_the_same_order() -> None:
    numbers = list(range(5, 17))
    alone = draw_batches(numbers, seed=1, stage="vae", count=2, workers=0)
    together = draw_batches(numbers, seed=1, stage="vae", count=2, workers=1)
    for (pixels, captions), (others, other_captions) in zip(alone, together, strict=True):
        assert np.array_equal(pixels, others)
        assert captions == other_captions


def test_about_an_eighth_of_the_captions_is_dropped() -> None:
    texts = with_dropout(["a red circle"] * 4000, torch.Generator().manual_seed(0))
    assert set(texts) == {"a red circle", ""}
    assert 430 < texts.count("") < 530


@pytest.mark.parametrize("muon", [False, True])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, muon: bool) -> None:
    plan = replace(VAE_PLAN, muon=muon)
    through = trained_weights(tmp_path / "through", plan)
    # The first four steps of both plans have the same learning rates.
    first_part = replace(plan, steps=4, decay_steps=1)
    stopped = trained_weights(tmp_path / "stopped", first_part, plan)
    assert torch.equal(stopped, through)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    network = torch.nn.ModuleDict({"line": torch.nn.Linear(1, 1)})
    state = TrainingState(network, replace(VAE_PLAN, learning_rate=0.1, steps=50), around)
    losses = []
    for _ in range(50):
        loss = (network["line"](torch.ones(1, 1)) - 3).square().mean()
        losses.append(loss.item())
        state.update(loss)
    assert losses[-1] < 0.05 * losses[0]


def test_a_timestep_weighs_by_the_root_of_its_noise_to_signal_ratio() -> None:
    weights = loss_weight(torch.tensor([0.99, 0.5, 0.0016]))
    assert weights.tolist() == pytest.approx([0.1005, 1.0, 24.98], rel=1e-3)


def test_timesteps_are_drawn_from_equal_parts() -> None:
    drawn = drawn_timesteps(100, 1000, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.int64
    assert sorted((drawn // 10).tolist()) == list(range(100))
    assert drawn.tolist() != sorted(drawn.tolist())


def test_tokens_are_those_of_the_words() -> None:
    tokens = VOCABULARY.read_text().splitlines()
    ids = input_ids(build_tokenizer(), ["A red circle!"])
    assert ids.shape == (1, 77)
    words = [tokens[number] for number in ids[0].tolist()]
    assert words[:7] == ["[CLS]", "a", "red", "circle", "!", "[SEP]", "[PAD]"]


def test_a_layout_says_what_lies_in_each_cell() -> None:
    star = Shape("star", "red", "small", x=12.0, y=56.0, radius=8.0)
    heart = Shape("heart", "blue", "large", x=48.0, y=16.0, radius=15.0)
    layout = layouts([Scene((star, heart), "gray")])[0].view(CELLS, CELLS, 3)
    names = [COLOR_NAMES[index] for index in layout[..., 0].flatten().tolist()]
    assert names == [*("gray", "gray", "blue", "blue") * 2, *["gray"] * 4, "red", *["gray"] * 3]
    assert [FORM_NAMES[layout[row, 3, 1]] for row in (1, 2)] == ["heart", "none"]
    assert [SIZE_NAMES[layout[row, 0, 2]] for row in (3, 2)] == ["small", "none"]


def test_a_layout_told_surely_costs_nothing_and_a_guess_costs_its_entropy() -> None:
    layout = layouts([Scene((Shape("star", "red", "small", 12.0, 56.0, 8.0),), "gray")])
    sure = torch.cat(
        [50.0 * one_hot(part, n) for part, n in zip(layout.unbind(-1), CLASSES, strict=True)], -1
    )
    assert layout_loss(sure, layout).item() == pytest.approx(0, abs=1e-6)
    guess = torch.zeros(1, CELLS**2, sum(CLASSES))
    assert layout_loss(guess, layout).item() == pytest.approx(math.log(math.prod(CLASSES)))


def test_the_text_encoder_is_trained_and_its_stage_not_repeated(tmp_path: Path) -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(0)
        bert = build_bert(TINY)
        train_text_encoder(bert, build_tokenizer(), TEXT_PLAN, surroundings(tmp_path))
        learned: torch.Tensor = bert.model.embed_tokens.weight
        return learned.detach()

    torch.manual_seed(0)
    untrained = build_bert(TINY).model.embed_tokens.weight.detach()
    first = weights()
    assert not torch.equal(first, untrained)
    assert torch.equal(weights(), first)


def test_the_written_folder_runs_in_diffusers(tmp_path: Path) -> None:
    around, out = surroundings(tmp_path / "work"), tmp_path / "checkpoint"
    train(PRESET, around, Networks.untrained(TINY), out)
    pipeline = DiffusionPipeline.from_pretrained(out)
    picture = pipeline(["a red circle"], num_inference_steps=2, guidance_scale=3.0).images[0]
    assert picture.size == (64, 64)


def test_a_checkpoint_that_one_starts_from_keeps_its_texts_and_its_scaling_factor(
    tmp_path: Path,
) -> None:
    def trained(preset: Preset, networks: Networks, name: str) -> Networks:
        train(preset, surroundings(tmp_path / name), networks, tmp_path / f"{name}.out")
        return read_checkpoint(tmp_path / f"{name}.out")

    first = trained(PRESET, Networks.untrained(TINY), "first")
    without_text = replace(PRESET, text=replace(TEXT_PLAN, steps=0))
    second = trained(without_text, read_checkpoint(tmp_path / "first.out"), "second")
    assert is_trained(second.vae)
    assert second.vae.config["scaling_factor"] == first.vae.config["scaling_factor"]
    assert not torch.equal(second.vae.encoder.conv_in.weight, first.vae.encoder.conv_in.weight)
    texts = [networks.bert.model.embed_tokens.weight for networks in (first, second)]
    assert torch.equal(*texts)


def test_a_shape_of_a_sixteenth_of_the_picture_weighs_as_much_as_all_the_rest() -> None:
    picture = torch.full((1, 3, 16, 16), 0.9)
    picture[0, :, 3:5, 3:5] = torch.tensor([0.7, -0.7, -0.7])[:, None, None]
    weight = shape_weight(picture)[0, 0]
    assert weight[2:6, 2:6].eq(17).all()
    assert (weight == 1).sum() == 16 * 16 - 4 * 4


def test_a_picture_without_shapes_weighs_the_same_everywhere() -> None:
    assert shape_weight(torch.full((1, 3, 8, 8), 0.9)).eq(1).all()


def test_a_new_checkpoint_keeps_the_model_card(tmp_path: Path) -> None:
    around, out = surroundings(tmp_path / "work"), tmp_path / "checkpoint"
    out.mkdir()
    (out / "README.md").write_text("the card")
    (out / "left.bin").write_text("from a former checkpoint")
    train(PRESET, around, Networks.untrained(TINY), out)
    assert (out / "README.md").read_text() == "the card"
    assert not (out / "left.bin").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--start", "nowhere"], "error: nowhere "),
        (["--steps", "-4"], "argument --steps: -4 is below 0"),
        (["--threads", "0"], "argument --threads: 0 is below 1"),
        (["--device", "cuda"], "error: --device cuda: torch sees no GPU here."),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["train", "--out", "out", "--work", "work", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
