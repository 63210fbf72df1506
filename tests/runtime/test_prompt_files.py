import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trt_pipeline import Bundle, InvalidInputError, Settings, read_settings
from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli
from trt_pipeline.command_line.prompt_files import file_jobs, read_prompt_file

BASE = Settings(
    prompt="",
    seed=0,
    num_inference_steps=50,
    guidance_scale=1.0,
    eta=0.0,
    height=64,
    width=64,
    model="tiny",
)
QUICK = ("--threads", "1", "--num-inference-steps", "2")


def text_file(folder: Path, text: str | bytes, name: str = "prompts.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def json_file(folder: Path, lines: Sequence[object]) -> Path:
    return text_file(folder, "\n".join(map(json.dumps, lines)), "prompts.jsonl")


def generate(bundle: Bundle, file: Path, out: Path, *args: object) -> int:
    words = ["generate", "--bundle", bundle.path, "--prompts", file, "-o", out, *QUICK, *args]
    return console.run(cli, [str(word) for word in words])


def made(folder: Path) -> dict[str, tuple[str, int | None]]:
    read = {path.name: read_settings(path) for path in sorted(folder.iterdir())}
    return {name: (one.prompt, one.seed) for name, one in read.items()}


def test_comments_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    file = text_file(tmp_path, "\ufeff# shapes\n\nred \r\n  # no prompt\n  blue circle\n")
    lines = read_prompt_file(file)
    assert [(line.number, line.entries) for line in lines] == [
        (3, {"prompt": "red"}),
        (5, {"prompt": "blue circle"}),
    ]


def test_a_line_ends_only_where_a_file_viewer_ends_it(tmp_path: Path) -> None:
    file = text_file(tmp_path, "red\u2028circle\nblue")
    assert [line.number for line in read_prompt_file(file)] == [1, 2]


def test_a_json_line_has_settings_of_its_own(tmp_path: Path) -> None:
    own = {
        "prompt": "red",
        "seed": 7,
        "negative_prompt": "blue",
        "guidance_scale": 6,
        "guidance_interval": [0.1, 0.8],
        "num_inference_steps": 20,
        "eta": 0.3,
        "sampler": "euler",
        "schedule": "trained",
        "timestep_spacing": "linspace",
        "height": 32,
        "width": 96,
    }
    (job,) = file_jobs(json_file(tmp_path, [own]), BASE, 1, None)
    assert job.settings == Settings(
        prompt="red",
        seed=7,
        negative_prompt="blue",
        guidance_scale=6,
        guidance_interval=(0.1, 0.8),
        num_inference_steps=20,
        eta=0.3,
        sampler="euler",
        schedule="trained",
        timestep_spacing="linspace",
        height=32,
        width=96,
        model="tiny",
    )


def test_a_job_is_named_by_its_line_and_copy(tmp_path: Path) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b", "count": 1}, {"prompt": "c", "count": 3}]
    jobs = file_jobs(json_file(tmp_path, lines), BASE, 2, 0)
    assert [job.name for job in jobs] == [
        "00001-1",
        "00001-2",
        "00002-1",
        "00003-1",
        "00003-2",
        "00003-3",
    ]


def test_a_line_without_seed_takes_the_first_plus_its_jobs_number(tmp_path: Path) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b", "seed": 7, "count": 2}, {"prompt": "c"}]
    jobs = file_jobs(json_file(tmp_path, lines), BASE, 1, 100)
    assert [job.settings.seed for job in jobs] == [100, 7, 8, 103]
    assert not any(job.any_seed for job in jobs)


def test_without_any_seed_they_are_drawn(tmp_path: Path) -> None:
    file = json_file(tmp_path, [{"prompt": "a"}, {"prompt": "b", "seed": 7}])
    jobs = file_jobs(file, BASE, 1, None)
    assert [job.any_seed for job in jobs] == [True, False]
    assert jobs[0].settings.seed != file_jobs(file, BASE, 1, None)[0].settings.seed


def test_a_seed_of_null_is_drawn_as_if_it_was_left_out(tmp_path: Path) -> None:
    file = json_file(tmp_path, [{"prompt": "a", "seed": null} for null in (None, None)])
    assert [job.settings.seed for job in file_jobs(file, BASE, 1, 7)] == [7, 8]
    assert file_jobs(file, BASE, 1, None)[0].any_seed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("red", "not valid JSON: Expecting value at character 0"),
        ("[1]", "it is .*expected a JSON object"),
        ("[" * 100_000, "not valid JSON: it is nested too deeply"),
        (
            '{"prompt": "a", "steps": 5}',
            "'steps' is unknown, expected prompt, negative_prompt, seed",
        ),
        ('{"prompt": "a", "model": "b"}', "'model' is unknown"),
        ('{"seed": 1}', "it has no prompt"),
        ('{"prompt": "a", "eta": 1, "eta": 2}', "entry 'eta' appears twice"),
        ('{"prompt": "a", "eta": NaN}', "not valid JSON: it has NaN for a number"),
        ('{"prompt": ["a"]}', "settings.prompt is .*expected a string"),
        ('{"prompt": "a", "seed": "7"}', "settings.seed is '7', expected an integer or null"),
        ('{"prompt": "a", "seed": -1}', "seed must be an integer from 0"),
        ('{"prompt": "a", "eta": "0.3"}', "settings.eta is '0.3', expected a number"),
        ('{"prompt": "a", "count": 0}', "count must be an integer from 1 to 10000, got 0"),
        ('{"prompt": "a", "count": true}', "count must be an integer"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    file = text_file(tmp_path, '{"prompt": "a"}\n\n' + line, "prompts.jsonl")
    with pytest.raises(InvalidInputError, match=rf"prompts\.jsonl line 3: {message}"):
        file_jobs(file, BASE, 1, None)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"prompts\.txt line 2: .*can't decode byte 0xff"):
        read_prompt_file(text_file(tmp_path, b"red\n\xff\n"))


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"prompts\.txt holds no prompts"):
        read_prompt_file(text_file(tmp_path, "# later\n"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"ends in \.txt .* or \.jsonl"):
        read_prompt_file(text_file(tmp_path, "red", "prompts.csv"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "a", "eta": 2}, "eta must be"),
        ({"prompt": "a", "height": 60}, "height must be a multiple of 8"),
        ({"prompt": "a", "sampler": "best"}, "sampler"),
        ({"prompt": "a", "schedule": "best"}, "schedule"),
        ({"prompt": "a", "num_inference_steps": 0}, "num_inference_steps must be"),
        ({"prompt": "a", "guidance_scale": 1e9}, "guidance_scale must be"),
        (
            {"prompt": "a", "guidance_interval": [0.5, 0.2]},
            "guidance_interval must not stop before",
        ),
        ({"prompt": "\udc80"}, "not valid Unicode"),
        ({"prompt": "a", "image": ""}, "image is an empty path; leave it out, or give null"),
    ],
)
def test_a_line_that_the_bundle_cannot_do_is_named_before_any_work(
    line: dict[str, object],
    message: str,
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = json_file(tmp_path, [{"prompt": "a"}, line])
    assert generate(bundle, file, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {file} line 2: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_the_command_lines_own_mistake_blames_no_line(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(bundle, text_file(tmp_path, "red"), tmp_path / "out", "--eta", 2) == 2
    assert capsys.readouterr().err.startswith("error: eta must be")


def test_a_file_becomes_a_folder_of_pictures(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = text_file(tmp_path, "red\n# blue\nblue\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 10, "--count", 2, "--format", "webp") == 0
    assert made(out) == {
        "00001-1.webp": ("red", 10),
        "00001-2.webp": ("red", 11),
        "00003-1.webp": ("blue", 12),
        "00003-2.webp": ("blue", 13),
    }
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [str(path) for path in sorted(out.iterdir())]
    assert "generating 4 pictures: 2/2" in captured.err


def test_one_bar_counts_the_steps_of_all_batches(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"prompt": "red", "num_inference_steps": steps} for steps in (3, 4, 3)]
    assert generate(bundle, json_file(tmp_path, lines), tmp_path / "out") == 0
    assert "generating 3 pictures: 7/7" in capsys.readouterr().err


def test_resume_makes_only_what_is_missing(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = text_file(tmp_path, "red\nblue\na circle\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 5) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "00002-1.png").unlink()
    capsys.readouterr()
    assert generate(bundle, file, out, "--seed", 5, "--resume") == 0
    captured = capsys.readouterr()
    assert [Path(line).name for line in captured.out.splitlines()] == [
        "00001-1.png",
        "00003-1.png",
        "00002-1.png",
    ]
    assert "generating 1 picture, 2 kept: 2/2" in captured.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_resume_with_everything_there_loads_no_bundle(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, out = text_file(tmp_path, "red\nblue\n"), tmp_path / "out"
    assert generate(bundle, file, out) == 0
    capsys.readouterr()
    monkeypatch.delattr("trt_pipeline.command_line.generate.trt_pipeline")
    assert generate(bundle, file, out, "--resume") == 0
    paths = f"{out / '00001-1.png'}\n{out / '00002-1.png'}\n"
    assert capsys.readouterr() == (paths, "all 2 pictures are there\n")


def test_resume_without_a_seed_keeps_pictures_of_any(bundle: Bundle, tmp_path: Path) -> None:
    file, out = text_file(tmp_path, "red\nblue\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 5) == 0
    (out / "00001-1.png").unlink()
    assert generate(bundle, file, out, "--resume") == 0
    assert made(out)["00002-1.png"] == ("blue", 6)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seed", 6], "00001-1.png has seed 5, not 6; --force replaces it"),
        (["--seed", 5, "--eta", 0.5], "00001-1.png has eta 0.0, not 0.5"),
        (["--seed", 5, "--num-inference-steps", 3], "has num_inference_steps 2, not 3"),
    ],
)
def test_resume_refuses_pictures_with_other_settings(
    args: list[object],
    message: str,
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, out = text_file(tmp_path, "red\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 5) == 0
    before = (out / "00001-1.png").read_bytes()
    assert generate(bundle, file, out, "--resume", *args) == 2
    assert message in capsys.readouterr().err
    assert (out / "00001-1.png").read_bytes() == before
    assert generate(bundle, file, out, "--resume", "--force", *args) == 0
    assert (out / "00001-1.png").read_bytes() != before


def test_resume_refuses_a_file_that_is_no_picture_of_ours(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "00001-1.png").write_text("mine")
    assert generate(bundle, text_file(tmp_path, "red\n"), tmp_path, "--resume") == 2
    assert "is not a PNG, WebP or JPEG; --force replaces it" in capsys.readouterr().err
    assert (tmp_path / "00001-1.png").read_text() == "mine"


def test_resume_refuses_a_picture_that_was_cut_off(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = text_file(tmp_path, "red\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 5) == 0
    picture = out / "00001-1.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:-200])
    assert generate(bundle, file, out, "--seed", 5, "--resume") == 2
    assert f"{picture} cannot be read: image file is truncated" in capsys.readouterr().err
    assert generate(bundle, file, out, "--seed", 5, "--resume", "--force") == 0
    assert picture.read_bytes() == whole


def test_resume_lists_kept_pictures_as_well(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = text_file(tmp_path, "red\nblue\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 5) == 0
    (out / "00001-1.png").unlink()
    capsys.readouterr()
    assert generate(bundle, file, out, "--seed", 5, "--resume", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [(entry["path"], entry["seed"]) for entry in entries] == [
        (str(out / "00002-1.png"), 6),
        (str(out / "00001-1.png"), 5),
    ]


def test_without_resume_nothing_is_replaced(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = text_file(tmp_path, "red\n"), tmp_path / "out"
    assert generate(bundle, file, out, "--seed", 5) == 0
    assert generate(bundle, file, out, "--seed", 5) == 2
    assert "exists; --resume keeps pictures that are as wanted" in capsys.readouterr().err
    assert generate(bundle, file, out, "--seed", 6, "--force") == 0
    assert made(out) == {"00001-1.png": ("red", 6)}


def test_a_grid_shows_kept_pictures_too(bundle: Bundle, tmp_path: Path) -> None:
    file, out, grid = text_file(tmp_path, "red\nblue\n"), tmp_path / "out", tmp_path / "grid.png"
    assert generate(bundle, file, out, "--seed", 5) == 0
    (out / "00002-1.png").unlink()
    assert generate(bundle, file, out, "--seed", 5, "--resume", "--grid", grid) == 0
    opened = [Image.open(path) for path in (out / "00001-1.png", out / "00002-1.png", grid)]
    first, second, both = (np.asarray(image) for image in opened)
    for image in opened:
        image.close()
    np.testing.assert_array_equal(both, np.hstack([first, second]))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["blue"], "--prompts and PROMPT both say what to make"),
        (["--from", "prompts.txt"], "--prompts and --from both say what to make"),
        (["-o", "a.png"], "a.png is one file; --prompts needs a folder"),
        (["--grid", "a.png", "--resume"], "--resume needs -o"),
    ],
)
def test_options_that_clash_with_a_file_are_refused(
    args: list[str],
    message: str,
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(text_file(tmp_path, "red\n").parent)
    words = ["generate", "--bundle", str(bundle.path), "--prompts", "prompts.txt", *args]
    assert console.run(cli, words) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.txt"]
