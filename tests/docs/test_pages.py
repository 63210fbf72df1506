"""What holds for every page: its words, its links, and the tables that the code must agree with."""

import re
from pathlib import Path

import pytest

from docs import make_command_line
from tests.docs.pages import README, ROOT, anchors, links, name_of, pages, prose, sentences
from trt_pipeline.errors import TrtPipelineError

GENERATED = ("docs/reference/settings.md", "docs/reference/command-line.md")
"""Pages whose sentences are the help texts of the code."""
EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=name_of)
EVERY_WRITTEN_PAGE = pytest.mark.parametrize(
    "page", [page for page in pages() if name_of(page) not in GENERATED], ids=name_of
)

BANNED = (
    r"(?<!there )\bis no\b",
    r"(?<!there )\bare no\b",
    r"\banew\b",
    r"so-manyth",
    r"\bleavings\b",
    r"unused for longest",
    r"of which those",
    r"1 of 255",
)
"""English that a reader would have to decode; style.md has plainer words."""
MOST_WORDS = 30
"""Of a sentence; the aim is 25."""


def test_readme_is_at_most_600_words() -> None:
    assert len(README.read_text().split()) <= 600


@EVERY_PAGE
def test_pages_are_in_plain_english(page: Path) -> None:
    text = " ".join(prose(page).split())
    assert [word for word in BANNED if re.search(word, text, re.IGNORECASE)] == []


@EVERY_WRITTEN_PAGE
def test_pages_name_whose_a_thing_is(page: Path) -> None:
    assert re.findall(r"(?i)\b(?:own|shown)\b", prose(page)) == []


@EVERY_WRITTEN_PAGE
def test_sentences_are_short(page: Path) -> None:
    long = [one for one in sentences(page) if len(one.split()) > MOST_WORDS]
    assert long == []


@EVERY_PAGE
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" not in link:
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_code_names_pages_that_exist() -> None:
    rooms = ("runtime", "export", "benchmarks", "tests")
    sources = [
        file
        for room in rooms
        for kind in ("py", "[ch]pp")
        for file in ROOT.glob(f"{room}/**/*.{kind}")
    ]
    named = {
        page for file in sources for page in re.findall(r"\bdocs/[\w/-]+\.md\b", file.read_text())
    }
    assert [page for page in sorted(named) if not (ROOT / page).exists()] == []


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link).resolve() for link in links(index)}
    assert linked == {*ROOT.glob("docs/**/*.md")} - {index}


def test_the_command_line_page_is_what_the_commands_say() -> None:
    page = make_command_line.page()
    assert make_command_line.PAGE.read_text() == page
    for name in ("export-all", "bench", "completion", "generate", "inspect", "pack", "unpack"):
        assert f"\n## {name}\n" in page


def test_the_errors_page_has_every_error_and_its_exit_status() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text()
    for error in _kinds(TrtPipelineError):
        bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
        assert f"| `{error.__name__}` | {bases} | {error.exit_status} |" in page


def _kinds(error: type[TrtPipelineError]) -> list[type[TrtPipelineError]]:
    return [error, *(kind for one in error.__subclasses__() for kind in _kinds(one))]


def test_the_reliability_page_names_tests_that_exist() -> None:
    for row in (ROOT / "docs/explanation/reliability.md").read_text().splitlines():
        for files, names in re.findall(r"((?:`test_\w+\.py`(?:, )?)+): ((?:`\w+`(?:, )?)+)", row):
            found = [*ROOT.glob("tests/*/test_*.py")]
            sources = [file.read_text() for file in found if f"`{file.name}`" in files]
            assert len(sources) == files.count(".py"), row
            for name in re.findall(r"\w+", names):
                assert any(re.search(rf"def test_\w*{name}", one) for one in sources), name
