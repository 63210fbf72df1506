"""The folders are the data flow: imports run one way, between files and between rooms."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"trt_pipeline": ROOT / "runtime", "trt_export": ROOT / "export"}
ONLY_FOR_TYPES = "TYPE_CHECKING"

Imports = Mapping[str, set[str]]


def files_of(package: str) -> dict[str, Path]:
    """Module → file."""
    root = PACKAGES[package]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (root / package).rglob("*.py")
    }


def imported(tree: ast.AST) -> Iterator[str]:
    """Every name that a file imports, at any place but those for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ONLY_FOR_TYPES in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


def imports_of(package: str) -> Imports:
    """Module → the modules of its package that it imports; a package's root is left out."""
    files = files_of(package)

    def owner(name: str) -> str:
        return name if name in files else name.rpartition(".")[0]

    return {
        module: {owner(name) for name in imported(ast.parse(path.read_text()))}
        & files.keys() - {module, package}
        for module, path in files.items()
    }


def room(module: str) -> str:
    """The folder under the package, or the file's own name there."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other(package: str) -> None:
    TopologicalSorter(imports_of(package)).prepare()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_rooms_import_each_other(package: str) -> None:
    rooms: dict[str, set[str]] = {}
    for module, others in imports_of(package).items():
        rooms.setdefault(room(module), set()).update(map(room, others))
    TopologicalSorter({name: others - {name} for name, others in rooms.items()}).prepare()


def test_a_circle_would_be_found() -> None:
    tree = ast.parse("def f():\n    from trt_export.cli import main\n    import trt_export.export")
    assert [*imported(tree)] == ["trt_export.cli.main", "trt_export.export"]
