"""The trt-pipeline command."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from trt_pipeline.arguments import counted
from trt_pipeline.bundle import Bundle, load_bundle, manifest_json
from trt_pipeline.bundle.manifest import PREDICTION_TYPES, FileSpec, PredictionSpec, TensorSpec
from trt_pipeline.command_line import console
from trt_pipeline.command_line.archiving import key_option, pack, unpack
from trt_pipeline.command_line.generate import BUNDLE, generate, json_option
from trt_pipeline.errors import InvalidInputError
from trt_pipeline.version import package_version


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    invoke_without_command=True,
)
@click.version_option(package_version(), prog_name="trt-pipeline")
@click.pass_context
def cli(context: click.Context) -> None:
    """Make pictures from prompts with an exported bundle.

    Exit status: 0 done, 1 failure, 2 usage or bad input, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(console.USAGE)


cli.add_command(generate)
cli.add_command(pack)
cli.add_command(unpack)


@cli.command()
@click.argument("bundle", type=BUNDLE)
@json_option
@console.debug_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Print what BUNDLE holds: graphs, shapes, sizes, precision, provenance."""
    loaded = load_bundle(bundle, verify="manifest")
    if as_json:
        click.echo(manifest_json(loaded), nl=False)
    else:
        click.echo(console.printable("\n".join(_summary(loaded))))


def _summary(bundle: Bundle) -> Iterator[str]:
    model, limits, schedule, own = bundle.model, bundle.limits, bundle.schedule, bundle.defaults
    yield f"{model.name} ({model.family}), {_megabytes(bundle.files)} in {bundle.path}"
    yield f"weights    {bundle.precision}"
    yield f"licence    {bundle.provenance.get('license', 'unknown')}"
    yield f"picture    {own.width} × {own.height} pixels"
    yield (
        f"defaults   {counted(own.num_inference_steps, 'step')} of {own.sampler}, "
        f"guidance scale {own.guidance_scale:g}, eta {own.eta:g}"
    )
    for name, (low, high) in asdict(limits).items():
        yield f"{name:10} {low}..{high}"
    yield (
        f"schedule   {counted(len(schedule.alphas_cumprod), 'timestep')}, "
        f"{_prediction(schedule.prediction)}, {schedule.timestep_spacing}, "
        f"steps_offset {schedule.steps_offset}"
    )
    if bundle.tokenizer:
        yield f"tokenizer  {bundle.tokenizer.kind}, {counted(bundle.tokenizer.max_length, 'token')}"
        added = [token.content for token in bundle.tokenizer.added_tokens]
        yield f"tokens     {', '.join(added) or 'none added'}"
    for name, precisions in bundle.graphs.items():
        for precision, graph in precisions.items():
            size = _megabytes({path: bundle.files[path] for path in (graph.path, graph.weights)})
            yield f"\n{name} {precision}, {size}"
            yield from (f"  in   {_tensor(tensor)}" for tensor in graph.inputs)
            yield from (f"  out  {_tensor(tensor)}" for tensor in graph.outputs)
    for engine in bundle.engines:
        key, size = engine.key, _megabytes({engine.path: bundle.files[engine.path]})
        yield f"\n{engine.graph} {key.flavour} {key.version} for {key.target}, {size}"
        yield (
            f"  {key.platform}, {key.precision}, optimization level {key.optimization_level}"
            f"{', version-compatible' * key.version_compatible}"
        )
        yield from (f"  in   {name} {s.min} {s.opt} {s.max}" for name, s in key.profile.items())
    yield f"\nprovenance {json.dumps(bundle.provenance, indent=1)}"


def _prediction(prediction: PredictionSpec) -> str:
    """diffusers' name of what the model predicts, where it has one."""
    names = [name for name, known in PREDICTION_TYPES.items() if known == prediction]
    return f"predicts {names[0] if names else prediction}"


def _megabytes(files: Mapping[str, FileSpec]) -> str:
    return f"{sum(file.size for file in files.values()) / 1e6:.1f} MB"


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


@cli.command()
@click.argument("bundle", type=BUNDLE)
@key_option
@json_option
@console.debug_option
def verify(bundle: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Compare size and sha256 of every file of BUNDLE with its manifest."""
    files = load_bundle(bundle, verify="full", trusted_keys=keys or None).files
    size = sum(file.size for file in files.values())
    if as_json:
        click.echo(json.dumps({"bundle": str(bundle), "files": len(files), "bytes": size}))
    else:
        click.echo(f"{bundle}: {counted(len(files), 'file')}, {_megabytes(files)}, all as listed")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, to be evaluated by it.

    For bash: eval "$(trt-pipeline completion bash)"
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise InvalidInputError(f"click cannot complete in {shell}.")
    click.echo(complete(cli, {}, "trt-pipeline", "_TRT_PIPELINE_COMPLETE").source())
