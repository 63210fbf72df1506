"""Writes src/unicode_tables.inc: what the tokenizers package does to each character.

Its Unicode categories are those of an old Unicode, its lower case is that of a new one, so no
Unicode library gives the same. Run it with the environment that has tokenizers:

    python runtime/cpp/tools/make_unicode_tables.py
"""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

OUTPUT = Path(__file__).parents[1] / "src" / "unicode_tables.inc"
HANGUL = range(0xAC00, 0xD7A4)
"""Decomposed by arithmetic in every Unicode."""

CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HEADER = "// Made by tools/make_unicode_tables.py; ranges are inclusive.\n"


def bert(
    *, clean: bool = False, accents: bool = False, lower: bool = False
) -> normalizers.Normalizer:
    """A normalizer that does one thing."""
    return normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=False, strip_accents=accents, lowercase=lower
    )


def removed() -> Iterator[int]:
    """What cleaning drops."""
    clean = bert(clean=True)
    return (ord(c) for c in CHARACTERS if clean.normalize_str(c) == "")


def marks() -> Iterator[int]:
    """What stripping accents drops."""
    strip = bert(accents=True)
    return (ord(c) for c in CHARACTERS if strip.normalize_str(c) == "")


def decomposed() -> Iterator[int]:
    """What has a canonical decomposition."""
    nfd = normalizers.NFD()
    for c in CHARACTERS:
        parts = nfd.normalize_str(c)
        if parts != c:
            if parts != unicodedata.normalize("NFD", c):
                raise ValueError(f"U+{ord(c):04X} decomposes in another way than in Unicode")
            yield ord(c)


def punctuation() -> Iterator[int]:
    """What stands alone between two words."""
    split = pre_tokenizers.BertPreTokenizer()
    return (ord(c) for c in CHARACTERS if len(split.pre_tokenize_str(f"a{c}b")) == 3)


def words() -> Iterator[int]:
    """What hides an added token that it touches, if that is found as a single word only."""
    engine = Tokenizer(models.WordPiece({"x": 0}, unk_token="x"))
    engine.add_tokens([AddedToken("token", single_word=True)])
    return (ord(c) for c in CHARACTERS if 1 not in engine.encode(f"token{c}").ids)


def ordered() -> Iterator[int]:
    """Marks with a combining class, which move before those of a higher one."""
    nfd, last = normalizers.NFD(), "\u0345"
    return (ord(c) for c in CHARACTERS if nfd.normalize_str(f"{last}{c}") == f"{c}{last}")


def matched(pattern: str) -> Iterator[int]:
    """What a pattern of CLIP's words matches."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed")
    return (ord(c) for c in CHARACTERS if not split.pre_tokenize_str(c))


def lower() -> Iterator[tuple[int, int]]:
    """Code point and lower case; U+0130, whose lower case is two, is handled where this is used."""
    lowercase = bert(lower=True)
    for c in CHARACTERS:
        small = lowercase.normalize_str(c)
        if small != c and c != "İ":
            yield ord(c), ord(small)


def ranges(codes: Iterable[int]) -> list[tuple[int, int]]:
    """Inclusive ranges of rising code points."""
    found: list[tuple[int, int]] = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


def shifts(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """First, last, stride (1 or 2) and difference of runs of code points that shift alike."""
    found: list[tuple[int, int, int, int]] = []
    for code, small in pairs:
        if found:
            first, last, stride, by = found[-1]
            gap = code - last
            if small - code == by and gap in ((1, 2) if first == last else (stride,)):
                found[-1] = (first, code, gap, by)
                continue
        found.append((code, code, 1, small - code))
    return found


def table(kind: str, name: str, rows: Iterable[tuple[int, ...]]) -> str:
    """One constexpr array, wrapped at 100 columns."""
    lines = [f"constexpr {kind} {name}[] = {{"]
    for row in rows:
        text = "{" + ", ".join(f"{n:#x}" if n >= 10 else str(n) for n in row) + "},"
        if len(lines) > 1 and len(lines[-1]) + len(text) < 99:
            lines[-1] += " " + text
        else:
            lines.append("    " + text)
    return "\n".join([*lines, "};", ""])


def main() -> None:
    """Write the tables."""
    parts = [
        HEADER,
        table("CodeRange", "removed", ranges(removed())),
        table("CodeRange", "nonspacing_marks", ranges(marks())),
        table("CodeRange", "decomposed", ranges(c for c in decomposed() if c not in HANGUL)),
        table("CodeRange", "ordered_marks", ranges(ordered())),
        table("CodeRange", "punctuation", ranges(punctuation())),
        table("CodeRange", "letters", ranges(matched(r"\p{L}"))),
        table("CodeRange", "numbers", ranges(matched(r"\p{N}"))),
        table("CodeRange", "words", ranges(words())),
        table("Shift", "lower_cases", shifts(lower())),
    ]
    OUTPUT.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
