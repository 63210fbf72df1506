"""What a bundle can do follows from its graphs' inputs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from trt_pipeline import Bundle, BundleError, BundleVersionError, load_bundle, trt_pipeline
from trt_pipeline.bundle.capabilities import (
    INPUTS,
    begins_with_pictures,
    check_graphs,
    embeds_guidance,
    enlarges,
    takes_prompts,
)
from trt_pipeline.bundle.manifest import GRAPHS, GraphPrecision, GraphSpec, TensorSpec

from .test_bundle import edit
from .tiny_bundle import GRAPHS as TINY_GRAPHS
from .tiny_bundle import (
    write_embedded_guidance_bundle,
    write_super_resolution_bundle,
    write_unconditional_bundle,
)


def with_input(bundle: Bundle, graph: str, name: str) -> Bundle:
    """The bundle whose graph has one more input."""
    forms = {
        precision: replace(spec, inputs=(*spec.inputs, TensorSpec(name, "float32", ("rows",))))
        for precision, spec in bundle.graphs[graph].items()
    }
    return replace(bundle, graphs={**bundle.graphs, graph: forms})


def with_forms(bundle: Bundle, forms: Mapping[GraphPrecision, GraphSpec]) -> Bundle:
    """The bundle with these forms of its denoiser."""
    return replace(bundle, graphs={**bundle.graphs, "denoiser": forms})


def without(bundle: Bundle, graph: str) -> Bundle:
    return replace(bundle, graphs={n: g for n, g in bundle.graphs.items() if n != graph})


def test_every_graph_of_the_format_has_its_inputs_listed() -> None:
    assert set(INPUTS) == set(GRAPHS)


def test_a_text_to_image_model_takes_prompts_and_pictures(bundle: Bundle) -> None:
    assert takes_prompts(bundle)
    assert begins_with_pictures(bundle)
    assert not embeds_guidance(bundle)
    assert not enlarges(bundle)


def test_an_unconditional_model_takes_neither(tmp_path: Path) -> None:
    bundle = write_unconditional_bundle(tmp_path / "u")
    assert not takes_prompts(bundle)
    assert not begins_with_pictures(bundle)
    assert not enlarges(bundle)


def test_a_condition_of_low_resolution_enlarges(tmp_path: Path) -> None:
    bundle = write_super_resolution_bundle(tmp_path / "s")
    assert enlarges(bundle)
    assert not takes_prompts(bundle)
    assert not begins_with_pictures(bundle)


def test_a_scale_beside_the_timesteps_embeds_guidance(tmp_path: Path) -> None:
    assert embeds_guidance(write_embedded_guidance_bundle(tmp_path / "g"))


@pytest.mark.parametrize("graph", [*TINY_GRAPHS])
def test_an_unknown_input_is_refused_by_name(bundle: Bundle, graph: str) -> None:
    newer = with_input(bundle, graph, "pooled_text")
    with pytest.raises(BundleError, match=f"does not know the input 'pooled_text' of {graph}"):
        trt_pipeline(newer, threads=1)


@pytest.mark.parametrize("graph", ["text_encoder", "time_embedding", "denoiser", "decoder"])
def test_a_missing_graph_is_named(bundle: Bundle, graph: str) -> None:
    with pytest.raises(BundleError, match=f"lacks its {graph}. Export the checkpoint again"):
        trt_pipeline(without(bundle, graph), threads=1)


@pytest.mark.parametrize("graph", ["cached_denoiser", "encoder"])
def test_a_graph_that_not_every_call_needs_may_be_missing(bundle: Bundle, graph: str) -> None:
    check_graphs(without(bundle, graph))


def test_a_missing_tokenizer_is_named(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"lacks its tokenizer\. Export the checkpoint again"):
        trt_pipeline(replace(bundle, tokenizer=None), threads=1)


def test_a_condition_without_its_input_is_refused(bundle: Bundle) -> None:
    model = replace(bundle.model, condition="low_resolution")
    with pytest.raises(BundleError, match=r"lacks its condition\. Export the checkpoint again"):
        trt_pipeline(replace(bundle, model=model), threads=1)


def test_an_input_whose_condition_is_not_named_is_refused(tmp_path: Path) -> None:
    bundle = write_super_resolution_bundle(tmp_path / "s")
    nameless = replace(bundle, model=replace(bundle.model, condition=None))
    with pytest.raises(BundleError, match=r"lacks its condition\. Export the checkpoint again"):
        trt_pipeline(nameless, threads=1)


def test_a_sampler_of_a_newer_release_is_refused_by_name(bundle: Bundle) -> None:
    newer = replace(bundle, defaults=replace(bundle.defaults, sampler="heun"))
    with pytest.raises(BundleError, match="sampler is 'heun', but this release knows ddim, euler"):
        trt_pipeline(newer, threads=1)


def test_version_1_is_refused_with_the_command_that_exports_again(own_bundle: Bundle) -> None:
    message = (
        r"has format version 1, but this release reads version 2\. "
        rf"Export its checkpoint again: export-all MODEL --out {own_bundle.path}$"
    )
    with pytest.raises(BundleVersionError, match=message):
        load_bundle(edit(own_bundle, format_version=1))


def test_an_unknown_graph_is_refused_by_name(bundle: Bundle) -> None:
    other = replace(bundle, graphs={**bundle.graphs, "upscaler": bundle.graphs["decoder"]})
    with pytest.raises(BundleError, match="does not know the graph 'upscaler'"):
        check_graphs(other)


def test_an_output_that_is_missing_or_named_twice_is_refused(bundle: Bundle) -> None:
    spec = bundle.graphs["denoiser"]["fp32"]
    for outputs, message in (
        (spec.outputs[1:], "denoiser lacks the output next_latents"),
        ((*spec.outputs, spec.outputs[0]), "denoiser names an output twice"),
    ):
        with pytest.raises(BundleError, match=message):
            check_graphs(with_forms(bundle, {"fp32": replace(spec, outputs=outputs)}))


def test_an_output_that_another_graph_reads_may_not_be_missing(bundle: Bundle) -> None:
    deaf = replace(bundle.graphs["text_encoder"]["fp32"], outputs=())
    silent: dict[str, Mapping[GraphPrecision, GraphSpec]] = {**bundle.graphs}
    silent["text_encoder"] = {"fp32": deaf}
    with pytest.raises(BundleError, match="text_encoder lacks the output context_kv"):
        check_graphs(replace(bundle, graphs=silent))
    assert "cached_denoiser" in bundle.graphs
    spec = bundle.graphs["denoiser"]["fp32"]
    plain = replace(spec, outputs=tuple(one for one in spec.outputs if one.name != "features"))
    with pytest.raises(BundleError, match="denoiser lacks the output features"):
        check_graphs(with_forms(bundle, {"fp32": plain}))
    check_graphs(without(with_forms(bundle, {"fp32": plain}), "cached_denoiser"))


def test_an_input_that_only_one_form_of_a_graph_has_is_refused(bundle: Bundle) -> None:
    spec = bundle.graphs["denoiser"]["fp32"]
    style = replace(spec, inputs=(*spec.inputs, TensorSpec("style", "float32", ("rows",))))
    with pytest.raises(BundleError, match="does not know the input 'style' of denoiser"):
        check_graphs(with_forms(bundle, {"fp16": spec, "fp32": style}))
