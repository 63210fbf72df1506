"""Where a step's time goes: every multiplication belongs to a layer that was timed."""

from pathlib import Path

import pytest
from graph_cost import flop, step_model
from layers import step_layers

from trt_pipeline import load_bundle


def test_the_layers_do_all_the_work_of_the_graph(plain_bundle: Path) -> None:
    bundle = load_bundle(plain_bundle)
    kinds = step_layers(bundle, threads=1, runs=1)
    expected = sum(flop(one) for one in step_model(bundle, batch=1).get_ordered_ops())
    assert sum(kind.flop for kind in kinds) == pytest.approx(expected)
    assert all(kind.seconds >= 0 for kind in kinds)
    assert any(kind.label.startswith("3 × 3 convolution") for kind in kinds)
