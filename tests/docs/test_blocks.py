"""Every command and program of the pages runs, in a page's order and in one folder."""

import re
import tomllib
import warnings
from pathlib import Path

import pytest

from tests.docs.commands import check, commands, reason_not_to_run, run, stand_in
from tests.docs.pages import README, ROOT, Block, blocks, name_of, pages

ELSEWHERE = {
    "docs/guide/cpp.md": "needs compilers and minutes; tests/cpp builds its program",
    "docs/add-a-family.md": "adds a file to the exporter; tests/export does what it says",
}
"""Pages whose blocks other tests run."""
NOT_COMMANDS = {"c", "cmake", "console", "cpp", "json", "jsonl", "text", "txt"}
"""Languages of blocks that are looked at, or compiled elsewhere."""
PAGES = [page for page in pages() if name_of(page) not in ELSEWHERE and blocks(page)]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


@EVERY_PAGE
def test_the_blocks_run_with_a_small_bundle(page: Path, folder: Path) -> None:
    _run_blocks(page, folder, slow=False)


@pytest.mark.slow
@EVERY_PAGE
def test_the_blocks_run_with_the_embedded_checkpoint(page: Path, embedded_folder: Path) -> None:
    _run_blocks(page, embedded_folder, slow=True)


def _run_blocks(page: Path, folder: Path, slow: bool) -> None:
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
        if block.language == "python":
            _run_python(page, block, names)
        elif block.language == "sh":
            _run_commands(block, slow)


def _run_python(page: Path, block: Block, names: dict[str, object]) -> None:
    """Errors name the line of the page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)


def _run_commands(block: Block, slow: bool) -> None:
    for words in commands(block.text):
        if reason_not_to_run(words, slow):
            check(words)
            stand_in(words)
        else:
            run(words)


def test_the_blocks_are_in_languages_that_the_tests_know() -> None:
    languages = {block.language for page in pages() for block in blocks(page)}
    assert languages <= {"sh", "python"} | NOT_COMMANDS


def test_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = "\n".join(page.read_text() for page in pages())
    named = {
        extra
        for found in re.findall(r"trt-pipeline\[([a-z,-]+)\]", text)
        for extra in found.split(",")
    }
    assert named <= project["optional-dependencies"].keys()


def test_readme_has_two_commands_and_six_lines_of_python() -> None:
    shell, python = blocks(README)
    assert len(commands(shell.text)) == 2
    assert len(python.text.splitlines()) <= 6
