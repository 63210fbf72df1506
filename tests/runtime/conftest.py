from collections.abc import Iterator
from pathlib import Path

import pytest

from trt_pipeline import Bundle, Pipeline, trt_pipeline

from .tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def own_bundle(tmp_path: Path) -> Bundle:
    """A bundle that the test may damage."""
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def pipe(bundle: Bundle) -> Iterator[Pipeline]:
    with trt_pipeline(bundle, threads=1) as pipeline:
        yield pipeline
