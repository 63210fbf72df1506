"""The pages of the documentation: their blocks of code, their prose, and their links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

FENCE = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    language: str
    file: str
    """The file that holds the text: the fence's second word, as in ```jsonl prompts.jsonl."""
    text: str
    line: int
    """Where the text begins in its page, from 1."""


def pages() -> list[Path]:
    """Every page, README.md first."""
    others = ("SECURITY.md", "CHANGELOG.md", "engines/README.md", "benchmarks/results/README.md")
    return [README, *(ROOT / name for name in others), *sorted(ROOT.glob("docs/**/*.md"))]


def name_of(page: Path) -> str:
    """A page as tests name it: relative to the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    text = page.read_text()
    return [
        Block(found[1], found[2], found[3], text.count("\n", 0, found.start(3)) + 1)
        for found in FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text())


def sentences(page: Path) -> Iterator[str]:
    """The sentences of a page's paragraphs and lists; its tables and headings have none."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose(page)):
        if not paragraph.lstrip().startswith(("|", "#", "!", "    ")):
            plain = LINK.sub(lambda link: link[0][1 : link[0].index("]")], paragraph)
            plain = re.sub("`[^`]*`", "code", " ".join(plain.split()))
            yield from re.split(r"(?<=[.:!?]) ", plain)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub gives them."""
    return {_anchor(heading) for heading in HEADING.findall(prose(page))}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(page: Path) -> list[str]:
    """Where a page's links lead."""
    return LINK.findall(prose(page))
