"""The export as a whole: what a bundle holds, and what happens on a second or a broken run."""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.checkpoints import edit_json
from trt_export.checkpoint.opening import open_checkpoint
from trt_export.cli import command
from trt_export.export import (
    ROOT,
    ExportOptions,
    ExportReport,
    export_checkpoint,
    exporter_sha256,
    stages_of,
    up_to_date,
)
from trt_export.families.ldm_text_to_image import FAMILY
from trt_export.publishing.hashes import CACHE
from trt_pipeline.bundle import load_bundle
from trt_pipeline.bundle.manifest import Defaults
from trt_pipeline.command_line import console
from trt_pipeline.errors import CheckpointError, InvalidInputError, ParityError
from trt_pipeline.locking import one_at_a_time

ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def again(checkpoint: Path, options: ExportOptions) -> ExportReport:
    return export_checkpoint(
        open_checkpoint(str(checkpoint)), checkpoint.with_name("bundle"), options
    )


def test_a_float32_bundle_holds_float32_graphs_only(plain_bundle: Path) -> None:
    bundle = load_bundle(plain_bundle)
    assert tuple(bundle.graphs) == FAMILY.graphs
    assert [tuple(graphs) for graphs in bundle.graphs.values()] == [("fp32",)] * 6


def test_a_float16_bundle_holds_both_arithmetics_over_one_weight_file(other_bundle: Path) -> None:
    graphs = load_bundle(other_bundle).graphs["denoiser"]
    assert set(graphs) == {"fp16", "fp32"}
    assert graphs["fp16"].weights == graphs["fp32"].weights


def test_the_manifest_describes_the_model(other_bundle: Path) -> None:
    bundle = load_bundle(other_bundle)
    assert (bundle.model.latent_channels, bundle.model.vae_scale_factor) == (3, 8)
    assert (bundle.model.family, bundle.model.condition) == ("ldm_text_to_image", None)
    assert bundle.model.context_tokens == 77
    assert bundle.defaults == Defaults(50, 1.0, 0.0, 80, 80, "ddim")
    assert bundle.limits.batch == (1, 3)
    assert bundle.limits.height == (32, 320)
    assert bundle.schedule.steps_offset == 1


def test_tensors_flow_between_graphs_by_name(other_bundle: Path) -> None:
    graphs = load_bundle(other_bundle).graphs
    inputs = {tensor.name: tensor for tensor in graphs["denoiser"]["fp16"].inputs}
    context_kv = graphs["text_encoder"]["fp16"].outputs[0]
    assert context_kv.name == "context_kv"
    assert inputs["context_kv"].dtype == context_kv.dtype == "float16"
    assert inputs["context_kv"].shape[1:] == context_kv.shape[1:]
    assert inputs["time_embeds"].shape[0] == "rows"
    assert inputs["latents"].shape == ("batch", 3, "latent_height", "latent_width")
    assert inputs["latents"].dtype == "float32"


def test_the_provenance_names_every_source_file(plain_checkpoint: Path, plain_bundle: Path) -> None:
    provenance = load_bundle(plain_bundle).provenance
    named = {plain_checkpoint / name for name in provenance["files"]}
    assert named == set(open_checkpoint(str(plain_checkpoint)).files.values())
    assert provenance["packages"]["torch"].startswith("2.")


def test_no_path_of_this_machine_is_in_a_bundle(plain_bundle: Path) -> None:
    root = str(Path(__file__).parents[2]).encode()
    for file in plain_bundle.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert root not in content
            assert str(plain_bundle).encode() not in content


def test_an_interrupted_export_goes_on_with_its_stage(
    plain_checkpoint: Path, resumed_export: ExportReport
) -> None:
    assert resumed_export.exported
    stages = stages_of(open_checkpoint(str(plain_checkpoint)))
    assert tuple(resumed_export.seconds) == tuple(stages)
    assert {stage.split()[-1] for stage in stages} >= {*FAMILY.graphs, "reference", "picture"}
    seconds = resumed_export.seconds
    assert seconds["trace text_encoder"] < seconds["trace denoiser"] / 4


def test_every_output_is_checked_and_close(resumed_export: ExportReport) -> None:
    assert len(resumed_export.parity) == 11
    relative = [row for row in resumed_export.parity if row["output"] != "image"]
    assert all(0 < row["difference"] < 1e-4 for row in relative)


def test_a_finished_export_leaves_no_work_folder(plain_bundle: Path) -> None:
    names = {path.name for path in plain_bundle.parent.iterdir()}
    assert names == {"checkpoint", "bundle", ".bundle.lock"}


def test_a_second_run_does_nothing(plain_checkpoint: Path, plain_bundle: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in plain_bundle.rglob("*")}
    assert not again(plain_checkpoint, ExportOptions("fp32")).exported
    assert {path: path.stat().st_mtime_ns for path in plain_bundle.rglob("*")} == before


def test_a_second_run_says_so_within_two_seconds(
    plain_checkpoint: Path, plain_bundle: Path
) -> None:
    started = time.perf_counter()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "trt_export", plain_checkpoint),
            *("--out", plain_bundle, "--precision", "fp32"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{plain_bundle} is up to date; nothing to do.\n"
    assert time.perf_counter() - started < 2


def test_a_folder_that_is_not_a_bundle_is_never_replaced(
    plain_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidInputError, match="exists and is not a bundle"):
        export_checkpoint(open_checkpoint(str(plain_checkpoint)), tmp_path)


def test_another_project_s_bundle_json_is_never_replaced(
    plain_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "bundle.json").write_text('{"name": "webpack"}')
    with pytest.raises(InvalidInputError, match="exists and is not a bundle"):
        export_checkpoint(open_checkpoint(str(plain_checkpoint)), tmp_path)


def test_a_touched_file_is_hashed_once_more_and_then_remembered(
    plain_checkpoint: Path, plain_bundle: Path
) -> None:
    vocab = plain_checkpoint / "tokenizer" / "vocab.txt"
    vocab.touch()
    assert not again(plain_checkpoint, ExportOptions("fp32")).exported
    states = json.loads((plain_bundle / CACHE).read_text())
    assert states["source/tokenizer/vocab.txt"]["mtime_ns"] == vocab.stat().st_mtime_ns


def test_damage_that_keeps_the_size_is_seen(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(plain_bundle, tmp_path / "bundle"))
    checkpoint, options = open_checkpoint(str(plain_checkpoint)), ExportOptions("fp32")
    assert up_to_date(checkpoint, folder, options)
    weights = folder / "onnx" / "decoder.weights"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert up_to_date(checkpoint, folder, options) is None


def test_a_bundle_of_other_exporter_code_is_stale(
    plain_checkpoint: Path, plain_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, options = open_checkpoint(str(plain_checkpoint)), ExportOptions("fp32")
    assert up_to_date(checkpoint, plain_bundle, options)
    monkeypatch.setattr("trt_export.export.exporter_sha256", lambda: 64 * "0")
    assert up_to_date(checkpoint, plain_bundle, options) is None


@pytest.mark.parametrize("room", ROOMS)
def test_a_change_of_any_room_makes_a_bundle_stale(room: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(ROOT, tmp_path / "trt_export"))
    before = exporter_sha256(root)
    source = root / room / "__init__.py"
    source.write_text(source.read_text() + "CHANGED = True\n")
    assert (exporter_sha256(root) != before) == (room != "shapes")


def test_a_user_s_file_inside_a_bundle_is_never_lost(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(plain_bundle, tmp_path / "bundle"))
    (folder / "onnx" / "notes.txt").touch()
    with pytest.raises(InvalidInputError, match=r"holds onnx/notes.txt, which is not part of the"):
        export_checkpoint(open_checkpoint(str(plain_checkpoint)), folder)


def test_a_bundle_in_a_read_only_folder_is_found_up_to_date(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(plain_bundle, tmp_path / "parent" / "bundle"))
    (folder / CACHE).unlink()
    for path in (folder, folder.parent):
        path.chmod(0o555)
    try:
        assert not export_checkpoint(
            open_checkpoint(str(plain_checkpoint)), folder, ExportOptions("fp32")
        ).exported
    finally:
        folder.parent.chmod(0o755)
        folder.chmod(0o755)
    assert not (tmp_path / "parent" / ".bundle.lock").exists()


def test_an_export_through_a_link_keeps_the_link(
    plain_checkpoint: Path, plain_bundle: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(plain_bundle)
    report = export_checkpoint(open_checkpoint(str(plain_checkpoint)), link, ExportOptions("fp32"))
    assert not report.exported
    assert link.is_symlink()


def test_another_export_of_the_same_folder_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with one_at_a_time(tmp_path / "bundle"):
            inside.set()
            time.sleep(0.3)

    holder = threading.Thread(target=first)
    holder.start()
    inside.wait()
    with one_at_a_time(tmp_path / "bundle", said.append):
        pass
    holder.join()
    assert said == [f"wait for another process that writes to {tmp_path / 'bundle'}"]


def test_a_refused_checkpoint_leaves_nothing_behind(plain_checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(plain_checkpoint, tmp_path / "copy"))
    edit_json(copy / "unet" / "config.json", cross_attention_dim=40)
    with pytest.raises(CheckpointError):
        export_checkpoint(open_checkpoint(str(copy)), tmp_path / "out" / "bundle")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".bundle.lock"]


def test_a_size_limit_below_the_native_size_is_refused(
    plain_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="must be a multiple of 8 that allows the native"):
        export_checkpoint(
            open_checkpoint(str(plain_checkpoint)), tmp_path / "bundle", ExportOptions(max_size=32)
        )


def test_a_dry_run_writes_nothing(
    plain_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(plain_checkpoint), "--out", str(tmp_path / "bundle"), "--dry-run", "--json"]
    assert console.run(command, arguments) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["would_export"], plan["would_build"]) == (True, [])
    assert plan["stages"] == [*stages_of(open_checkpoint(str(plain_checkpoint)))]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_refuses_what_the_export_would(
    plain_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = shutil.copytree(plain_checkpoint, tmp_path / "checkpoint")
    path = checkpoint / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "clip_sample": True}))
    arguments = [str(checkpoint), "--out", str(tmp_path / "bundle"), "--dry-run"]
    assert console.run(command, arguments) == 2
    assert "clip_sample is true" in capsys.readouterr().err


def test_a_dry_run_knows_what_is_there(
    plain_checkpoint: Path, plain_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(plain_checkpoint), "--out", str(plain_bundle), "--precision", "fp32"]
    assert console.run(command, [*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out == f"{plain_bundle} is up to date; no graph to export.\n"


def test_a_dry_run_downloads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(command, ["somebody/some-model-to-be", "--dry-run"]) == 2
    assert "is not downloaded yet; without --dry-run, it would be" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["./nowhere"],
        ["--precision", "int3"],
        ["--max-batch", "0"],
        ["--static"],
        ["--engines", "tensorrt_rtx", "--precision", "fp32"],
    ],
)
def test_bad_input_ends_with_status_two_and_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.run(command, arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_parity_refuses_what_is_too_far_off(plain_bundle: Path) -> None:
    from trt_export.onnx_graphs.parity import check_parity

    graph = load_bundle(plain_bundle).graph("time_embedding", "fp32")
    inputs = {"timesteps": np.array([1.0, 2.0], np.float32)}
    wrong = {"time_embeds": np.ones((2, 416), np.float32)}
    with pytest.raises(
        ParityError, match=r"time_embedding \(fp32\): time_embeds differs by .* at most 1e-04"
    ):
        check_parity("time_embedding", "fp32", graph, plain_bundle, inputs, wrong)
