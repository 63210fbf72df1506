"""A genuine bundle small enough for every test: real ONNX graphs whose result one can work out.

context_kv is an embedding table, time_embeds is timesteps / 1000 twice, and the model's output for
a row is latents / 2 + features, where features are mean(context_kv) + mean(time_embeds). A pixel is
64 + 64 latents, eight times enlarged; the encoder takes means, so it is the inverse where a picture
is even.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

from trt_pipeline.bundle import Bundle, file_sha256, manifest_json
from trt_pipeline.bundle.decoding import decode
from trt_pipeline.bundle.manifest import (
    PREDICTION_TYPES,
    Defaults,
    FileSpec,
    GraphPrecision,
    GraphSpec,
    Limits,
    ModelSpec,
    ScheduleSpec,
    TensorSpec,
)
from trt_pipeline.bundle.names import MANIFEST
from trt_pipeline.bundle.tokenizer_specs import AddedToken, TokenizerSpec, WordPieceSpec

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "circle", "##s")
SIXTY_FOURTHS = np.linspace(-64, 64, 3 * len(VOCABULARY)).round().reshape(-1, 3)
EMBEDDING = (SIXTY_FOURTHS / 64).astype(np.float32)
"""Sums of these are exact, in whatever order a runtime adds them up."""
ALPHAS_CUMPROD = tuple(np.cumprod(1 - np.linspace(0.00085, 0.012, 1000)).tolist())

HEADER = '<ir_version: 10, opset_import: ["": 20]>'

LATENTS = "float[batch, 4, latent_height, latent_width]"
STEP_INPUTS = f"""
    {LATENTS} latents, float[3, batch, 4, latent_height, latent_width] history,
    float[rows, 231] context_kv, float[rows, 2] time_embeds, int32[rows] rows,
    float[batch, rows] guidance, float[batch, 8] coefficients, {LATENTS} noise"""
STEP_OUTPUTS = f"""
    {LATENTS} next_latents, float[3, batch, 4, latent_height, latent_width] next_history"""

MIXED = """
    half = Mul (x, weight)
    output = Add (half, features)
    flat = Flatten (output)
    mixed = MatMul (guidance, flat)
    shape = Shape (latents)
    prediction = Reshape (mixed, shape)"""

SAMPLER_UPDATE = """
    columns = Unsqueeze (coefficients, two_axes)
    p, q, a, b0, b1, b2, b3, s = Split <axis = 1, num_outputs = 8> (columns)
    first = Constant <value_ints = [0]> ()
    kept, kept2, dropped = Split <axis = 0, num_outputs = 3> (history)
    m1 = Squeeze (kept, first)
    m2 = Squeeze (kept2, first)
    m3 = Squeeze (dropped, first)
    px = Mul (p, latents)
    qe = Mul (q, prediction)
    m0 = Add (px, qe)
    ax = Mul (a, latents)
    b0m0 = Mul (b0, m0)
    b1m1 = Mul (b1, m1)
    b2m2 = Mul (b2, m2)
    b3m3 = Mul (b3, m3)
    sz = Mul (s, noise)
    next_latents = Sum (ax, b0m0, b1m1, b2m2, b3m3, sz)
    newest = Unsqueeze (m0, first)
    next_history = Concat <axis = 0> (newest, kept, kept2)"""

GRAPHS = {
    "text_encoder": """
        text_encoder (int32[batch, 77] input_ids) => (float[batch, 231] context_kv) {
            words = Gather <axis = 0> (weight, input_ids)
            context_kv = Flatten (words)
        }""",
    "time_embedding": """
        time_embedding (float[steps] timesteps) => (float[steps, 2] time_embeds) {
            axis = Constant <value_ints = [1]> ()
            column = Unsqueeze (timesteps, axis)
            time_embeds = Mul (column, weight)
        }""",
    "denoiser": f"""
        denoiser ({STEP_INPUTS}) => (
            {STEP_OUTPUTS},
            float[rows, 1, latent_height, latent_width] features
        ) {{
            last_axis = Constant <value_ints = [1]> ()
            text = ReduceMean <keepdims = 1> (context_kv, last_axis)
            times = ReduceMean <keepdims = 1> (time_embeds, last_axis)
            two_axes = Constant <value_ints = [2, 3]> ()
            time = Unsqueeze (times, two_axes)
            text_columns = Unsqueeze (text, two_axes)
            x = Gather <axis = 0> (latents, rows)
            plane = ReduceMean <keepdims = 1> (x, last_axis)
            zero = Sub (plane, plane)
            with_time = Add (text_columns, time)
            features = Add (with_time, zero)
            {MIXED}
            {SAMPLER_UPDATE}
        }}""",
    "cached_denoiser": f"""
        cached_denoiser (
            {STEP_INPUTS}, float[rows, 1, latent_height, latent_width] features
        ) => ({STEP_OUTPUTS}) {{
            x = Gather <axis = 0> (latents, rows)
            two_axes = Constant <value_ints = [2, 3]> ()
            {MIXED}
            {SAMPLER_UPDATE}
        }}""",
    "decoder": """
        decoder (
            float[batch, 4, latent_height, latent_width] latents
        ) => (uint8[batch, height, width, 3] image) {
            start = Constant <value_ints = [0]> ()
            end = Constant <value_ints = [3]> ()
            axis = Constant <value_ints = [1]> ()
            colours = Slice (latents, start, end, axis)
            scales = Constant <value_floats = [1.0, 1.0, 8.0, 8.0]> ()
            enlarged = Resize <mode = "nearest"> (colours, , scales)
            scaled = Mul (enlarged, weight)
            shifted = Add (scaled, weight)
            low = Constant <value_float = 0.0> ()
            high = Constant <value_float = 255.0> ()
            clipped = Clip (shifted, low, high)
            rounded = Round (clipped)
            bytes = Cast <to = 2> (rounded)
            image = Transpose <perm = [0, 2, 3, 1]> (bytes)
        }""",
    "encoder": """
        encoder (
            uint8[batch, height, width, 3] image
        ) => (
            float[batch, 4, latent_height, latent_width] latents_mean,
            float[batch, 4, latent_height, latent_width] latents_std
        ) {
            floats = Cast <to = 1> (image)
            planes = Transpose <perm = [0, 3, 1, 2]> (floats)
            means = AveragePool <kernel_shape = [8, 8], strides = [8, 8]> (planes)
            scaled = Div (means, weight)
            one = Constant <value_float = 1.0> ()
            colours = Sub (scaled, one)
            padding = Constant <value_ints = [0, 0, 0, 0, 0, 1, 0, 0]> ()
            latents_mean = Pad (colours, padding)
            latents_std = Sub (latents_mean, latents_mean)
        }""",
}

EMBEDDED_GUIDANCE = """
    time_embedding (
        float[steps] timesteps, float[steps] guidance_scale
    ) => (float[steps, 2] time_embeds) {
        hundred = Constant <value_float = 100.0> ()
        scaled = Mul (guidance_scale, hundred)
        sum = Add (timesteps, scaled)
        axis = Constant <value_ints = [1]> ()
        column = Unsqueeze (sum, axis)
        time_embeds = Mul (column, weight)
    }"""

PAIR = {
    "text_encoder": """
        text_encoder (
            int32[batch, 77] input_ids, int32[batch, 77] input_ids_2
        ) => (float[batch, 231] context_kv, float[batch, 3] text_embeds) {
            words = Gather <axis = 0> (weight, input_ids)
            context_kv = Flatten (words)
            words_2 = Gather <axis = 0> (weight, input_ids_2)
            tokens = Constant <value_ints = [1]> ()
            text_embeds = ReduceMean <keepdims = 0> (words_2, tokens)
        }""",
    "time_embedding": """
        time_embedding (
            float[steps] timesteps, float[steps, 3] text_embeds, float[steps, 6] time_ids
        ) => (float[steps, 2] time_embeds) {
            axis = Constant <value_ints = [1]> ()
            column = Unsqueeze (timesteps, axis)
            text = ReduceMean <keepdims = 1> (text_embeds, axis)
            hundred = Constant <value_float = 100.0> ()
            text_column = Mul (text, hundred)
            numbers = Constant <value_floats = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> ()
            numbered = Mul (time_ids, numbers)
            sizes = ReduceSum <keepdims = 1> (numbered, axis)
            sum = Sum (column, text_column, sizes)
            time_embeds = Mul (sum, weight)
        }""",
}

ADDITIONS = {
    "tiny_decoder": GRAPHS["decoder"].replace("decoder (", "tiny_decoder ("),
    "safety_checker": """
        safety_checker (
            uint8[batch, height, width, 3] image
        ) => (int32[batch] has_nsfw_concept) {
            floats = Cast <to = 1> (image)
            axes = Constant <value_ints = [1, 2, 3]> ()
            mean = ReduceMean <keepdims = 0> (floats, axes)
            bright = Greater (mean, weight)
            has_nsfw_concept = Cast <to = 6> (bright)
        }""",
}

WEIGHTS = {
    "text_encoder": EMBEDDING,
    "time_embedding": np.full((1, 2), 0.001, np.float32),
    "denoiser": np.array(0.5, np.float32),
    "cached_denoiser": np.array(0.5, np.float32),
    "decoder": np.array(64, np.float32),
    "tiny_decoder": np.array(32, np.float32),
    "safety_checker": np.array(80, np.float32),
    "encoder": np.array(64, np.float32),
}

PREVIEW = ((0.5, 0, 0, 0, -0.5), (0, 0.5, 0, 0, -0.5), (0, 0, 0.5, 0, -0.5))
LIMITS = Limits(batch=(1, 4), height=(32, 128), width=(32, 128))
ENLARGED = Limits(batch=(1, 4), height=(256, 512), width=(256, 512))


def wordpiece(ids: Sequence[int] = range(5), **changes: Any) -> WordPieceSpec:
    """BERT's usual tokenizer. ids: of VOCABULARY's first five tokens."""
    pad, unk, start, end, _ = ids
    usual = {
        "files": {"vocab": "vocab.txt"},
        "max_length": 77,
        "padding_side": "right",
        "truncation_side": "right",
        "start_id": start,
        "end_id": end,
        "pad_id": pad,
        "unk_id": unk,
        "clean_text": True,
        "lowercase": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "added_tokens": tuple(map(added_token, VOCABULARY, ids)),
    }
    return WordPieceSpec(**{**usual, **changes})


def added_token(content: str, number: int, **flags: bool) -> AddedToken:
    """A token that is added without flags but these."""
    none = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return AddedToken(content, number, **{**none, **flags})


def write_tiny_bundle(folder: Path, limits: Limits = LIMITS) -> Bundle:
    """Write the bundle and return its manifest."""
    return _write_text_to_image(folder, GRAPHS, limits)


def write_embedded_guidance_bundle(folder: Path) -> Bundle:
    """Likewise with guidance_scale / 10 added to the time: guidance needs no second row."""
    graphs = {**GRAPHS, "time_embedding": EMBEDDED_GUIDANCE}
    return _write_text_to_image(folder, graphs, LIMITS)


def write_pair_bundle(folder: Path, **model: Any) -> Bundle:
    """Likewise with a second text encoder: 100 times the mean of what the second tokenizer's ids
    give is added to the time, and each of time_ids times its number from 1. The second tokenizer
    pads with [MASK]."""
    tokenizer_2 = replace(wordpiece(), pad_id=4)
    return _write_text_to_image(folder, {**GRAPHS, **PAIR}, LIMITS, tokenizer_2, **model)


def _write_text_to_image(
    folder: Path,
    graphs: Mapping[str, str],
    limits: Limits,
    tokenizer_2: TokenizerSpec | None = None,
    **model: Any,
) -> Bundle:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    spec = ModelSpec("tiny", "ldm_text_to_image", 4, 8, context_tokens=77, **model)
    return _write(folder, spec, graphs, limits, wordpiece(), tokenizer_2)


def write_bundle_with_additions(folder: Path) -> Bundle:
    """Likewise with a tiny decoder, whose pixels are 32 + 32 latents, and with a safety checker,
    which finds pictures unsafe that are brighter than 80 on average."""
    return _write_text_to_image(folder, {**GRAPHS, **ADDITIONS}, LIMITS)


def write_unconditional_bundle(folder: Path) -> Bundle:
    """Likewise for a model without prompts, whose output is half its latents."""
    model = ModelSpec("tiny", "ldm_unconditional", 4, 8)
    return _write_textless(folder, model, LIMITS, _textless("features = Mul (x, weight)", ""))


def write_super_resolution_bundle(folder: Path) -> Bundle:
    """Likewise for a model that enlarges: its output is half the picture that it enlarges, and 0
    in the fourth channel."""
    model = ModelSpec("tiny", "ldm_super_resolution", 4, 8, condition="low_resolution")
    seen = """
        padding = Constant <value_ints = [0, 0, 0, 0, 0, 1, 0, 0]> ()
        padded = Pad (condition, padding)
        features = Mul (padded, weight)"""
    given = "float[rows, 3, latent_height, latent_width] condition, "
    return _write_textless(folder, model, ENLARGED, _textless(seen, given))


def _write_textless(
    folder: Path, model: ModelSpec, limits: Limits, denoisers: Mapping[str, str]
) -> Bundle:
    folder.mkdir(parents=True)
    graphs = {name: GRAPHS[name] for name in ("time_embedding", "decoder")}
    return _write(folder, model, {**graphs, **denoisers}, limits, None)


def _textless(seen: str, given: str) -> dict[str, str]:
    """The denoisers' graphs without text; the features are the output. seen: what makes them."""
    inputs = f"""
        {LATENTS} latents, float[3, batch, 4, latent_height, latent_width] history,
        float[rows, 2] time_embeds, {given} int32[rows] rows, float[batch, rows] guidance,
        float[batch, 8] coefficients, {LATENTS} noise"""
    update = f"two_axes = Constant <value_ints = [2, 3]> () {SAMPLER_UPDATE}"
    mixed = """
        flat = Flatten (features)
        mixed = MatMul (guidance, flat)
        shape = Shape (latents)
        prediction = Reshape (mixed, shape)"""
    features = "float[rows, 4, latent_height, latent_width] features"
    return {
        "denoiser": f"""
            denoiser ({inputs}) => ({STEP_OUTPUTS}, {features}) {{
                x = Gather <axis = 0> (latents, rows)
                {seen}
                {mixed}
                {update}
            }}""",
        "cached_denoiser": f"""
            cached_denoiser ({inputs}, {features}) => ({STEP_OUTPUTS}) {{
                {mixed}
                {update}
            }}""",
    }


def _write(
    folder: Path,
    model: ModelSpec,
    texts: Mapping[str, str],
    limits: Limits,
    tokenizer: TokenizerSpec | None,
    tokenizer_2: TokenizerSpec | None = None,
) -> Bundle:
    (folder / "onnx").mkdir()
    graphs: dict[str, dict[GraphPrecision, GraphSpec]] = {
        name: {"fp32": _write_graph(folder, name, text)} for name, text in texts.items()
    }
    paths = [path for path in folder.rglob("*") if path.is_file()]
    bundle = Bundle(
        path=folder,
        model=model,
        defaults=Defaults(50, 1.0, 0.0, 64, 64, "ddim"),
        precision="fp32",
        graphs=graphs,
        limits=limits,
        schedule=ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", ALPHAS_CUMPROD),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        provenance={"source": "tests"},
        preview=PREVIEW,
        files={
            path.relative_to(folder).as_posix(): FileSpec(path.stat().st_size, file_sha256(path))
            for path in paths
        },
    )
    (folder / MANIFEST).write_text(manifest_json(bundle))
    return bundle


def _write_graph(folder: Path, name: str, text: str) -> GraphSpec:
    model = parser.parse_model(HEADER + text)
    model.graph.initializer.append(numpy_helper.from_array(WEIGHTS[name], "weight"))
    onnx.checker.check_model(model)
    onnx.save_model(
        model,
        folder / "onnx" / f"{name}.onnx",
        save_as_external_data=True,
        location=f"{name}.weights",
        size_threshold=0,
    )
    return GraphSpec(
        path=f"onnx/{name}.onnx",
        weights=f"onnx/{name}.weights",
        inputs=tuple(_tensor(value) for value in model.graph.input),
        outputs=tuple(_tensor(value) for value in model.graph.output),
    )


def _tensor(value: onnx.ValueInfoProto) -> TensorSpec:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    shape = [d.dim_param or d.dim_value for d in kind.shape.dim]
    return decode(TensorSpec, {"name": value.name, "dtype": dtype, "shape": shape}, value.name)
