"""Altered bundles, as many as CI has time for.

docs/explanation/reliability.md has the long runs.
"""

from pathlib import Path

import numpy as np
import pytest
from reliability import flips, mutations

from tests.runtime.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


def test_no_flipped_bit_of_a_signed_bundle_is_accepted(tiny: Path) -> None:
    assert flips(tiny, 1000, np.random.default_rng(1)) == {"flips": 1000, "accepted": 0}


def test_no_mutated_bundle_is_accepted_and_every_error_is_ours(tiny: Path) -> None:
    seen = mutations(tiny, 2000, np.random.default_rng(1))
    assert seen["accepted"] == 0
    assert seen["changed"] > 1500
    assert seen["other_manifests"] > seen["other_manifests_that_draw"] > 0
