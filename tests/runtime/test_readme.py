"""The README's commands and programs do what it says, in its order."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from trt_pipeline.command_line import console
from trt_pipeline.command_line.cli import cli

from .tiny_bundle import write_tiny_bundle

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user would stand after `make demo`."""
    write_tiny_bundle(tmp_path / "engines/shapes")
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "photo.jpg")
    lines = ({"prompt": "a red circle", "seed": 7}, {"prompt": "a blue circle", "count": 2})
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_ends_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "".join(blocks("sh")).replace("\\\n", "").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    ours = [words[1:] for words in commands if words[:1] == ["trt-pipeline"]]
    ours = [words for words in ours if words[0] != "bench"]  # a minute; test_bench.py runs it
    assert len(ours) >= 9
    for words in ours:
        assert console.run(cli, words) == 0, (words, capsys.readouterr().err)
    with Image.open("again.png") as again, Image.open("pictures/00000.png") as first:
        assert again.tobytes() == first.tobytes()


def test_every_program_runs(folder: Path) -> None:
    names: dict[str, object] = {}
    for program in blocks("python"):
        exec(program, names)
    assert {path.name for path in folder.glob("*.png")} == {"circle.png", "preview.png"}
