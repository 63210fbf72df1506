"""The commands of the pages: which are run, and how the others are checked."""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.docs.pages import ROOT
from trt_export.cli import command as export_all
from trt_pipeline.__main__ import all_commands
from trt_pipeline.bundle.names import MANIFEST, SIGNATURE
from trt_pipeline.command_line import console

Words = Sequence[str]

NOT_RUN = {
    "make": "installs packages; CI runs every target",
    ". .venv": "the tests run in an environment already",
    "pip": "installs packages; tests/test_install.py does",
    "eval": "test_cli.py looks at the completion script",
    "trt-pipeline bench": "takes a minute; test_bench.py runs it",
    "export-all CompVis": "downloads gigabytes",
    "export-all path/to/checkpoint": "is the reader's checkpoint; tests/export exports many",
    "export-all model.": "is the reader's checkpoint; test_single_files.py exports several",
    "export-all --precision": "takes a minute more; tests/export exports small float32 models",
    "export-all twin": "takes minutes and gigabytes; test_full_size.py does it",
    "export-all --engines": "needs a GPU or minutes; test_engines.py builds engines",
    "python -m trt_export.twin": "writes 5.9 GB; test_full_size.py does it",
    "python -m trt_export.shapes.train": "takes hours; test_train.py takes a few steps",
    "python -m tests.faults.fuzz": "needs atheris, and runs for minutes",
    "python -m pytest": "takes minutes",
    "python benchmarks": "takes minutes; tests/benchmarks runs their parts",
    "benchmarks/gpu.sh": "needs a GPU",
    "polygraphy": "does not belong to this project's packages",
    "openssl pkeyutl": "names the files of a bundle; test_signatures.py runs it",
}
"""How a command begins → why no test runs it; its options and files are checked instead."""
ONLY_SLOW = {
    "export-all": "exports for a minute",
    "trt-pipeline generate --backend openvino_int8": "needs a quantized bundle",
}
"""The same, but the slow tests run it."""


def commands(text: str) -> list[list[str]]:
    """The commands of a block, each as its words."""
    lines = text.replace("\\\n", "").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def reason_not_to_run(words: Words, slow: bool) -> str | None:
    """Why a command is only checked; None if it is run."""
    table: Mapping[str, str] = NOT_RUN if slow else {**NOT_RUN, **ONLY_SLOW}
    found = [reason for begin, reason in table.items() if _begins(words, begin)]
    return found[0] if found else _obstacle(words)


def _begins(words: Words, begin: str) -> bool:
    """Whether a command begins so; an option may stand anywhere in it."""
    head, *options = begin.split(" --")
    line = f"{' '.join(words)} "
    return line.startswith(head) and all(f" --{option} " in line for option in options)


def _obstacle(words: Words) -> str | None:
    """Why the backend that a command names cannot run here."""
    if "--backend" not in words:
        return None
    name = words[words.index("--backend") + 1]
    obstacle: str | None = import_module(f"trt_pipeline.backends.{name}").obstacle(None)
    return obstacle


def run(words: Words) -> None:
    """Run a command; AssertionError unless it ends well."""
    match words[0]:
        case "trt-pipeline":
            assert console.run(all_commands(), words[1:]) == 0, words
        case "export-all":
            assert console.run(export_all, words[1:]) == 0, words
        case _:
            subprocess.run(words, check=True, capture_output=True)


def stand_in(words: Words) -> None:
    """Do for the small bundle what a command that is not run would do."""
    if words[0] == "export-all" and "--sign" in words:
        key = load_pem_private_key(Path(words[-1]).read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        folder = Path("engines/shapes")
        (folder / SIGNATURE).write_bytes(key.sign((folder / MANIFEST).read_bytes()))


def check(words: Words) -> None:
    """AssertionError for an option, a file or a target that does not exist."""
    match words:
        case ["trt-pipeline", name, *rest]:
            _check_options(all_commands().commands[name], rest)
        case ["export-all", *rest]:
            _check_options(export_all, rest)
        case ["make", *targets]:
            rules = (ROOT / "Makefile").read_text()
            assert all(re.search(rf"^{target}:", rules, re.M) for target in targets), words
        case ["python", "-m", "pytest", *rest]:
            assert all((ROOT / word).exists() for word in rest if word.endswith(".py")), words
        case ["python", "-m", module, *rest]:
            _check_script(_module_file(module), rest)
        case ["python", script, *rest]:
            _check_script(ROOT / script, rest)
        case [script] if "/" in script:
            assert (ROOT / script).exists(), words


def _check_options(command: click.Command, words: Sequence[str]) -> None:
    command.make_parser(click.Context(command)).parse_args([*words])


def _module_file(module: str) -> Path:
    parts = module.split(".")
    return ROOT / {"trt_export": "export"}.get(parts[0], ".") / Path(*parts).with_suffix(".py")


def _check_script(script: Path, words: Words) -> None:
    """Its source names every option."""
    source = script.read_text()
    options = [word for word in words if word.startswith("--")]
    assert all(f'"{option}"' in source for option in options), (script, options)
