from dataclasses import replace

import numpy as np
import pytest

from trt_pipeline import Bundle, InvalidInputError, Pipeline
from trt_pipeline.command_line.jobs import (
    Job,
    batched,
    checked_jobs,
    count_steps,
    prompt_jobs,
    run_batches,
)
from trt_pipeline.settings import Settings

BASE = Settings(
    prompt="red",
    seed=0,
    num_inference_steps=3,
    guidance_scale=4.0,
    eta=0.5,
    height=64,
    width=64,
    model="tiny",
)


def job(**changed: object) -> Job:
    return Job(replace(BASE, **changed))  # type: ignore[arg-type]


MIXED = [
    job(seed=1),
    job(seed=2, num_inference_steps=2),
    job(seed=3, prompt="blue", guidance_scale=1.0),
    job(seed=4, negative_prompt="a circle", guidance_scale=7.0),
    job(seed=5, num_inference_steps=2, prompt="blue"),
    job(seed=6, sampler="euler", eta=0.0),
    job(seed=7, width=96),
]


def test_seeds_count_up_over_all_prompts() -> None:
    jobs = prompt_jobs(["red", "blue"], BASE, 2, 5)
    assert [(one.settings.prompt, one.settings.seed) for one in jobs] == [
        ("red", 5),
        ("red", 6),
        ("blue", 7),
        ("blue", 8),
    ]


def test_jobs_of_equal_call_settings_share_a_batch() -> None:
    seeds = [[one.settings.seed for one in batch] for batch in batched(MIXED, 4)]
    assert seeds == [[1, 3, 4], [2, 5], [6], [7]]


def test_a_batch_is_no_larger_than_the_bundle_allows() -> None:
    assert [len(batch) for batch in batched([job(seed=s) for s in range(9)], 4)] == [4, 4, 1]


def test_a_picture_does_not_depend_on_its_batch(pipe: Pipeline) -> None:
    together = {one: np.asarray(image) for one, image in run_batches(pipe, batched(MIXED, 4), None)}
    assert len(together) == 7
    for one, image in run_batches(pipe, batched(MIXED, 1), None):
        np.testing.assert_array_equal(np.asarray(image), together[one])


@pytest.mark.parametrize("sampler", ["ddim", "pndm", "unipc"])
def test_every_step_is_counted(sampler: str, pipe: Pipeline) -> None:
    done = []
    batches = batched([job(seed=s, sampler=sampler, eta=0.0) for s in range(5)], 4)
    for _ in run_batches(pipe, batches, lambda: done.append(1)):
        pass
    assert len(done) == count_steps(pipe.bundle, batches)


def test_an_impossible_job_is_named_before_any_work(bundle: Bundle) -> None:
    bad = Job(replace(BASE, eta=2.0), origin="prompts.jsonl line 3")
    with pytest.raises(InvalidInputError, match=r"^prompts\.jsonl line 3: eta must be"):
        checked_jobs(bundle, [job(), bad])
    with pytest.raises(InvalidInputError, match=r"^height must be a multiple of 8"):
        checked_jobs(bundle, [job(height=60)])
