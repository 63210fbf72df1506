"""Folders of Stable Diffusion, and the same as single files."""

import shutil
from pathlib import Path

import pytest

from tests.shared import once
from tests.single_files import Both, make_both


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A folder of Stable Diffusion 1.x, and the same as one file."""
    return once(tmp_path_factory, "single-1", lambda folder: make_both(folder, "1.x"))


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """2.x."""
    return once(tmp_path_factory, "single-2", lambda folder: make_both(folder, "2.x"))


@pytest.fixture(scope="session")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """XL."""
    return once(tmp_path_factory, "single-xl", lambda folder: make_both(folder, "xl"))


@pytest.fixture
def file(first: Both, tmp_path: Path) -> Path:
    """A copy of the file of 1.x that the test may damage."""
    return Path(shutil.copy(first[1], tmp_path))
