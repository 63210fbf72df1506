"""What a bundle's calls use for settings that they leave out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trt_export.checkpoint.folder import Checkpoint
from trt_export.checkpoint.schedules.schedulers import complete_settings
from trt_export.families import Distilled
from trt_export.networks.weights.loading import Networks
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import Defaults, ScheduleSpec
from trt_pipeline.errors import CheckpointError, InvalidInputError
from trt_pipeline.sampling.samplers import sampler_table


@dataclass(frozen=True, slots=True)
class Usual:
    """What checkpoints of a kind draw with."""

    num_inference_steps: int
    guidance_scale: float
    distilled: Distilled | None = None
    """How a checkpoint was told from others of its family."""


def usual_of(checkpoint: Checkpoint) -> Usual:
    """What the family draws with, or those of its checkpoints that have such a scheduler."""
    family, scheduler = checkpoint.family, checkpoint.class_of("scheduler")
    for one in family.distilled:
        if scheduler in one.schedulers and _has(checkpoint, one.settings):
            return Usual(one.num_inference_steps, one.guidance_scale, one)
    return Usual(family.num_inference_steps, family.guidance_scale)


def _has(checkpoint: Checkpoint, wanted: Mapping[str, Any]) -> bool:
    """Whether its scheduler has some settings."""
    scheduler, config = checkpoint.class_of("scheduler"), checkpoint.config("scheduler")
    settings = complete_settings(scheduler, config)
    return all(settings.get(name) == value for name, value in wanted.items())


def defaults_of(
    checkpoint: Checkpoint, networks: Networks, schedule: ScheduleSpec, sampler: str
) -> Defaults:
    """The defaults of a bundle; CheckpointError where no call could draw with them."""
    side, usual = networks.unet.config["sample_size"], usual_of(checkpoint)
    pixels = side * networks.vae.pixels_per_latent
    entries = {
        "num_inference_steps": _possible_steps(checkpoint, schedule, sampler, usual),
        "guidance_scale": usual.guidance_scale,
        "eta": checkpoint.family.eta,
        "height": pixels,
        "width": pixels,
        "sampler": sampler,
    }
    try:
        return decode(Defaults, entries, "it")
    except ValueError as error:
        path = checkpoint.configs["unet"]
        raise CheckpointError(f"{path} cannot be exported: {error}.") from None


def _possible_steps(
    checkpoint: Checkpoint, schedule: ScheduleSpec, sampler: str, usual: Usual
) -> int:
    """The most steps that the sampler takes, up to the usual ones; CheckpointError for none."""
    refused = ""
    for steps in range(usual.num_inference_steps, 0, -1):
        try:
            sampler_table(sampler, schedule, steps, checkpoint.family.eta)
        except InvalidInputError as error:
            refused = str(error)
        else:
            return steps
    path = checkpoint.configs["scheduler"]
    raise CheckpointError(f"{path} cannot be exported: no number of steps draws with it. {refused}")


def notes_of_defaults(checkpoint: Checkpoint, defaults: Defaults) -> Iterator[str]:
    """Why defaults are not those of the family."""
    usual, path = usual_of(checkpoint), checkpoint.configs["scheduler"]
    if usual.distilled:
        stated = [f"{name} {value}" for name, value in usual.distilled.settings.items()]
        yield (
            f"{path}: {' and '.join([checkpoint.class_of('scheduler'), *stated])} are for models "
            f"of few steps. The bundle's defaults are {defaults.num_inference_steps} as "
            f"num_inference_steps and {defaults.guidance_scale:g} as guidance_scale. Choose others "
            "with --num-inference-steps and --guidance-scale."
        )
    if defaults.num_inference_steps < usual.num_inference_steps:
        yield (
            f"{path}: its num_train_timesteps and steps_offset leave no room for "
            f"{usual.num_inference_steps} steps, the default of {checkpoint.family.name}. The "
            f"bundle's default is {defaults.num_inference_steps}."
        )


def choose_defaults(
    checkpoint: Checkpoint,
    defaults: Defaults,
    schedule: ScheduleSpec,
    num_inference_steps: int | None,
    guidance_scale: float | None,
) -> Defaults:
    """The same with what a user chose; InvalidInputError for what no call takes."""
    if num_inference_steps is not None:
        try:
            sampler_table(defaults.sampler, schedule, num_inference_steps, defaults.eta)
        except InvalidInputError as error:
            raise InvalidInputError(f"--num-inference-steps: {error}") from None
        defaults = replace(defaults, num_inference_steps=num_inference_steps)
    if guidance_scale is not None:
        if "text_encoder" not in checkpoint.family.parts:
            raise InvalidInputError(
                f"--guidance-scale: {checkpoint.name} makes pictures without prompts, which alone "
                "are guided. Leave the option out."
            )
        try:
            defaults = replace(defaults, guidance_scale=guidance_scale)
        except ValueError as error:
            raise InvalidInputError(f"--guidance-scale: {error}.") from None
    return defaults
