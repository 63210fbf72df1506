"""Writes the golden files beside it, which the tests of both runtimes read.

    python tests/golden/make_golden.py

Only a change of what the runtimes are meant to give should ever change a file.
"""

import ast
import copy
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from numpy.typing import NDArray
from tokenizers import AddedToken as EngineToken
from tokenizers import Tokenizer as Engine
from tokenizers import models, normalizers, pre_tokenizers

from trt_pipeline.bundle import Bundle, manifest_json, parse_manifest
from trt_pipeline.bundle.manifest import (
    PREDICTION_TYPES,
    Defaults,
    EngineKey,
    EngineSpec,
    FileSpec,
    GraphSpec,
    Limits,
    ModelSpec,
    ScheduleSpec,
    ShapeRange,
    TensorSpec,
)
from trt_pipeline.bundle.names import SIGNATURE
from trt_pipeline.bundle.onnx_files import external_locations
from trt_pipeline.bundle.signatures import check_signature
from trt_pipeline.bundle.tokenizer_specs import (
    AddedToken,
    BytePairSpec,
    TokenizerSpec,
    WordPieceSpec,
)
from trt_pipeline.errors import BundleError, IntegrityError, InvalidInputError
from trt_pipeline.pictures.previews import preview_pixels
from trt_pipeline.pictures.tiling import decode_in_tiles
from trt_pipeline.sampling.guidance import guide, guided_steps, guides, unguided
from trt_pipeline.sampling.inpainting import KnownLatents, kept_latents, paste, untouched_latents
from trt_pipeline.sampling.noise import SeedNoise, TorchGenerator
from trt_pipeline.sampling.samplers import SAMPLERS, WITH_ETA, sampler_table
from trt_pipeline.sampling.samples import Rows, join
from trt_pipeline.sampling.schedule import choose_schedule
from trt_pipeline.text.prompts import Mixture
from trt_pipeline.text.tokenizer import Tokenizer

HERE = Path(__file__).parent
VOCABULARY = HERE / "vocab.txt"

PLANES = range(17)
"""Unicode's planes of 65536 code points."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = """
a an the red blue green circle star cafe naive uber strasse 北 京 の 한 국 above below !  , . - ' "
( ) [ ] { } | / \\ @ # $ % & * + = < > ? ; : _ ` ~ « » ¿ ¡ – — … ½ € ™ ∑ ##s ##ing ##ed ##le ##cle
cir ##cum playing play un ##aff ##able
"""
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éüßñçöå"

TEXTS = (
    "",
    " ",
    "a red circle",
    "  A  RED\tCircle\n",
    "unaffable playing circles",
    "Café NAÏVE Über straße",
    "cafe\u0301 with a separate accent",
    "don't stop-now, (please)!",
    "北京 の 한국",
    "a北b京c",
    "豈 compatibility ideograph",
    "İstanbul IĞDIR ß ẞ ſ",
    "ΑΣ Σίσυφος ΤΕΛΟΣ",
    "half ½, euro €, tm ™, sum ∑ «quoted» ¿que?",
    "[MASK] a [SEP] red[PAD]circle [CLS][UNK]",
    "[mask] [ MASK ] [MASK",
    "zero\u200bwidth soft\u00adhyphen nul? bell\u0007 repl\ufffdaced",
    "nbsp\u00a0em\u2003ideographic\u3000line\u2028para\u2029end\u0085",
    "vertical\u000btab form\u000cfeed",
    "emoji 😀 🏳️‍🌈 👩🏽‍🚀 flags 🇩🇪",
    "मनीष जोशी हिन्दी",
    "tiếng Việt đẹp",
    "한국어 \u1112\u1161\u11ab jamo",
    "ﬁ ligature Ⅳ roman ² super",
    "marks a\u0316\u0301\u0327 in \u0301 any order a\u0327\u0301\u0316",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐐀𐐁 𞤀𞤁 Ꟑ Ɤ",
    "x" * 100,
    "x" * 101,
    "a red circle above the blue star " * 12,
    "unaffable " * 60 + "end",
    "a <cat-toy>, <CAT-TOY><Cat-toy>red <cat-toyed> <cat>",
    "<Dog>cafe<Dog>  <dog> <DOG>",
    "sks sKs asks sks1 _sks sks! (sks)北sks\u0301 sks\u200bsks",
    "naïve! NAIVE!NAÏVE! nai\u0308ve! naive",
    "北京 北 京a北京b",
    "a <l> red \t<l>\u3000<r>  blue<r>\u00a0 star <b> <b>\n<b> of",
    "red blank blue  blank  blank a blank",
    "é É e\u0301 red RED bred reds redredred",
    "a<cat-toy> " * 50 + "<Dog> and the end",
)

SEEDS = (0, 1, 12345, 2**32, 2**63 + 5, 2**64 - 1)
TORCH_SEEDS = (0, 1, 12345, 2**32 + 1, 2**64 - 1)


NO_TIME = np.empty((0, 0, 0))
"""For rows whose steps are not taken."""


def vocabulary() -> str:
    """A small vocabulary that shows what became of a text, one token a line."""
    pieces = [prefix + letter for prefix, letter in product(("", "##"), LETTERS)]
    return "\n".join(dict.fromkeys([*SPECIAL, *WORDS.split(), *pieces])) + "\n"


def tokenizer_cases() -> Iterator[dict[str, Any]]:
    """Tokenizers as a manifest has them, with the ids of the texts and the warnings about them."""
    for spec in tokenizers():
        tokenizer = Tokenizer(HERE, spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = tokenizer.encode(TEXTS)
        yield {
            "tokenizer": asdict(spec),
            # Padding, id 0, is left out.
            "input_ids": [np.trim_zeros(row).tolist() for row in rows],
            "cut_off": [cut_off(tokenizer, text) for text in TEXTS],
        }


def tokenizers() -> Iterator[TokenizerSpec]:
    """Every choice of rules, then added tokens, and sides and a length of their own."""
    for lowercase, accents, chinese in product((True, False), (None, True, False), (True, False)):
        yield wordpiece(lowercase=lowercase, strip_accents=accents, tokenize_chinese_chars=chinese)
    yield wordpiece(clean_text=False)
    yield wordpiece(added_tokens=added_tokens())
    yield wordpiece(added_tokens=added_tokens(), lowercase=False, tokenize_chinese_chars=False)
    yield wordpiece(
        added_tokens=added_tokens(),
        padding_side="left",
        truncation_side="left",
        max_length=20,
        start_id=5,
        end_id=6,
    )


def added_tokens() -> tuple[AddedToken, ...]:
    """Tokens of every flag; some are in the vocabulary, the others follow it."""
    flags: dict[str, set[str]] = {
        **{token: set() for token in SPECIAL},
        "red": {"single_word"},
        "<cat-toy>": {"normalized"},
        "<cat": {"normalized"},
        "<Dog>": set(),
        "sks": {"normalized", "single_word"},
        "NAÏVE!": {"normalized"},
        "北京": {"normalized"},
        "<l>": {"lstrip"},
        "<r>": {"rstrip"},
        "<b>": {"lstrip", "rstrip", "normalized"},
        " blank ": {"normalized"},
        "É": set(),
    }
    known = vocabulary().splitlines()
    new = [content for content in flags if content not in known]
    ids = {content: [*known, *new].index(content) for content in flags}
    names = ("single_word", "lstrip", "rstrip", "normalized")
    return tuple(
        AddedToken(content, ids[content], *(name in flags[content] for name in names))
        for content in sorted(flags, key=ids.__getitem__)
    )


def wordpiece(folder: str = "", **changes: Any) -> WordPieceSpec:
    """BERT's usual tokenizer, whose vocabulary lies in a folder of the bundle."""
    usual = {
        "files": {"vocab": f"{folder}vocab.txt"},
        "max_length": 77,
        "padding_side": "right",
        "truncation_side": "right",
        "start_id": 2,
        "end_id": 3,
        "pad_id": 0,
        "unk_id": 1,
        "clean_text": True,
        "lowercase": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "added_tokens": tuple(
            AddedToken(content, number, False, False, False, False)
            for number, content in enumerate(SPECIAL)
        ),
    }
    return WordPieceSpec(**{**usual, **changes})


def byte_pair() -> BytePairSpec:
    """A second tokenizer."""
    return BytePairSpec(
        files={"vocab": "tokenizer_2/vocab.txt", "merges": "tokenizer_2/merges.txt"},
        max_length=77,
        padding_side="right",
        truncation_side="right",
        start_id=1,
        end_id=2,
        pad_id=0,
        unk_id=2,
        added_tokens=(AddedToken("!", 0, False, False, False, False),),
    )


def cut_off(tokenizer: Tokenizer, text: str) -> str | None:
    """What the warning about a text quotes, if there is one; C++ quotes it without escapes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer.encode([text])
    quoted = str(caught[0].message).partition("cut off: ")[2] if caught else "None"
    return cast(str | None, ast.literal_eval(quoted))


def character_digests() -> dict[str, list[str]]:
    """For each plane, sha256 of what each rule makes of its characters one by one."""

    def bert(**rules: bool) -> Callable[[str], str]:
        off = dict.fromkeys(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"))
        given = {**dict.fromkeys(off, False), **rules}
        normalize: Callable[[str], str] = normalizers.BertNormalizer(**given).normalize_str
        return normalize

    split = pre_tokenizers.BertPreTokenizer()
    engine = Engine(models.WordPiece({"x": 0}, unk_token="x"))
    engine.add_tokens([EngineToken("token", single_word=True)])
    rules: dict[str, Callable[[str], str]] = {
        "clean": bert(clean_text=True),
        "chinese": bert(handle_chinese_chars=True),
        "strip_accents": bert(strip_accents=True),
        "lower_case": bert(lowercase=True),
        "words": lambda c: str(len(split.pre_tokenize_str(f"a{c}b"))),
        "in_word": lambda c: "0" if 1 in engine.encode(f"token{c}").ids else "1",
    }
    return digests(rules)


def digests(rules: Mapping[str, Callable[[str], str]]) -> dict[str, list[str]]:
    """Of each plane, for each rule."""
    return {name: [_digest(rule, plane) for plane in PLANES] for name, rule in rules.items()}


def _digest(rule: Callable[[str], str], plane: int) -> str:
    codes = range(plane << 16, (plane + 1) << 16)
    texts = [rule(chr(code)) for code in codes if not 0xD800 <= code < 0xE000]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def noise() -> dict[str, Any]:
    """Draws of both streams; SeedNoise's integers as well."""
    counts = (7, 16, 21, 5)
    return {
        "counts": counts,
        "philox": {
            str(seed): [str(n) for n in np.random.Philox(key=seed).random_raw(9)] for seed in SEEDS
        },
        "seed": {str(s): _draws(SeedNoise(s), counts) for s in SEEDS},
        "torch": {str(s): _draws(TorchGenerator(s), counts) for s in TORCH_SEEDS},
    }


def _draws(stream: SeedNoise | TorchGenerator, counts: tuple[int, ...]) -> list[list[float]]:
    return [_numbers(stream.draw((count,))) for count in counts]


def _numbers(array: Any) -> list[float]:
    """float32 numbers by their shortest text."""
    return [float(str(number)) for number in np.asarray(array, np.float32).ravel()]


def schedules() -> dict[str, ScheduleSpec]:
    """Short schedules of every kind."""
    betas = np.linspace(0.00085, 0.012, 120).astype(np.float32)
    linear = tuple(np.cumprod(1 - betas.astype(np.float64)).tolist())
    scaled = tuple(np.cumprod(1 - np.linspace(0.03, 0.11, 90) ** 2).tolist())
    return {
        "leading": ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "leading", linear),
        "offset": ScheduleSpec(PREDICTION_TYPES["v_prediction"], 1, False, "leading", scaled),
        "linspace": ScheduleSpec(PREDICTION_TYPES["sample"], 0, False, "linspace", scaled),
        "trailing": ScheduleSpec(PREDICTION_TYPES["epsilon"], 0, True, "trailing", scaled),
    }


def sampler_cases() -> Iterator[dict[str, Any]]:
    """Tables, or the refusal of one."""
    choices = [(name, 0.0) for name in SAMPLERS] + list(product(WITH_ETA, (0.3, 1.0)))
    for (name, schedule), steps, (sampler, eta) in product(
        schedules().items(), (1, 2, 7, 90), choices
    ):
        for chosen, start in _variants(name, steps):
            case = {
                "schedule": name,
                "choice": chosen,
                "sampler": sampler,
                "steps": steps,
                "start": start,
                "eta": eta,
            }
            yield {**case, **_table(choose_schedule(schedule, chosen), case)}


def _variants(schedule: str, steps: int) -> tuple[tuple[str, int], ...]:
    """Choices of a schedule with the steps to leave out."""
    if steps != 7:
        return (("published", 0),)
    starts = (("published", 0), ("published", 2), ("published", 5), ("published", 6))
    return (*starts, ("trained", 0)) if schedule == "leading" else starts


def _table(schedule: ScheduleSpec, case: Mapping[str, Any]) -> dict[str, Any]:
    try:
        table = sampler_table(
            case["sampler"], schedule, case["steps"], case["eta"], start=case["start"]
        )
    except InvalidInputError as error:
        return {"error": str(error)}
    rows = range(0, len(table.timesteps), 1 if case["steps"] < 10 else 13)
    return {
        "length": len(table.timesteps),
        "noisy_steps": table.noisy_steps,
        "initial_scale": _numbers(table.initial_scale)[0],
        # Every row of a short table, every 13th of a long one.
        "rows": list(rows),
        "timesteps": _numbers(table.timesteps[rows]),
        "alphas_cumprod": _numbers(table.alphas_cumprod[rows]),
        "last_alpha_cumprod": _numbers(table.alphas_cumprod[-1])[0],
        "coefficients": [_numbers(table.coefficients[row]) for row in rows],
    }


def guidance() -> dict[str, Any]:
    """Matrices of mixtures, negatives and scales; and guided steps of intervals."""
    red: Mixture = [("red", 1.0)]
    blue: Mixture = [("blue", 1.0)]
    mix: Mixture = [("red", 0.6), ("blue", 0.4)]
    cases: list[tuple[list[Mixture], list[str | None], list[float], list[float | None]]] = [
        ([red], [""], [1.0], [None]),
        ([red], [None], [6.0], [None]),
        ([red, blue], ["", "dark"], [7.5, 7.5], [None, None]),
        ([red, mix, blue], ["", "", "dark"], [1.0, -2.0, 0.0], [None, None, None]),
        ([mix], [""], [1.0], [None]),
        ([red], ["dark"], [7.0], [1.5]),
        ([mix, red, blue, red], [None, "", "dark", ""], [5.0, 1.0, 7.0, 3.0], [1, 2, 0.9, 2.5]),
    ]
    matrices = []
    for above_1_only, (mixtures, negatives, scales, image_scales) in product((False, True), cases):
        made = [
            guide(mixture, negative, scale, image_scale)
            if guides(scale, image_scale, above_1_only=above_1_only)
            else unguided(mixture)
            for mixture, negative, scale, image_scale in zip(
                mixtures, negatives, scales, image_scales, strict=True
            )
        ]
        weights = [[row.weight for row in rows] for rows in made]
        joined = join(
            tuple(Rows(np.array(row, np.float32), {}, NO_TIME) for row in weights)
        ).tensors
        matrices.append(
            {
                "mixtures": mixtures,
                "negatives": negatives,
                "scales": scales,
                "image_scales": image_scales,
                "guides_above_1_only": above_1_only,
                "rows": joined["rows"].tolist(),
                "matrix": [_numbers(row) for row in joined["guidance"]],
                "texts": [row.text for rows in made for row in rows],
                "sees_image": [row.sees_image for rows in made for row in rows],
            }
        )
    intervals = [((0.0, 1.0), 5), ((0.2, 0.8), 10), ((0.3, 0.3), 4), ((0.0, 0.5), 7)]
    steps = [
        {"interval": interval, "steps": n, "guided": guided_steps(interval, n)}
        for interval, n in intervals
    ]
    return {"matrices": matrices, "guided_steps": steps}


def inpainting() -> list[dict[str, Any]]:
    """Pictures pasted into others, and latents with their known part put back."""
    return [_inpainted(*sizes) for sizes in ((2, 8, 12, 4), (1, 20, 4, 2), (1, 2, 6, 2))]


def _inpainted(batch: int, height: int, width: int, factor: int) -> dict[str, Any]:
    rng = np.random.default_rng(height)
    painted, given = rng.integers(0, 256, (2, batch, height, width, 3), np.uint8)
    repainted = np.zeros((batch, height, width), np.bool_)
    repainted[:, height // 3 : height - 1, 1 : width // 2] = True
    repainted[1:] = True
    kept = [kept_latents(mask, factor) for mask in repainted]
    untouched = [untouched_latents(mask, factor) for mask in repainted]
    shape = (batch, 2, height // factor, width // factor)
    clean, noise, latents = rng.standard_normal((3, *shape), np.float32)
    known = [KnownLatents(*one) for one in zip(clean, noise, kept, strict=True)]
    merged = [paste(*one) for one in zip(painted, given, repainted, strict=True)]
    alpha = np.float32(0.36)
    restored = [one.restore(start, alpha) for one, start in zip(known, latents, strict=True)]
    return {
        "shape": (batch, height, width),
        "factor": factor,
        "painted": painted.ravel().tolist(),
        "given": given.ravel().tolist(),
        "repainted": repainted.astype(int).ravel().tolist(),
        "merged": np.stack(merged).ravel().tolist(),
        "kept": np.stack(kept).astype(int).ravel().tolist(),
        "untouched": np.stack(untouched).astype(int).ravel().tolist(),
        "latents_shape": shape,
        "clean": _numbers(clean),
        "noise": _numbers(noise),
        "latents": _numbers(latents),
        "alpha": 0.36,
        "restored": _numbers(np.stack(restored)),
    }


def tiling() -> list[dict[str, Any]]:
    """Latents decoded in tiles by `checkered`."""
    sizes = (
        (2, 11, 9, 8, 2),
        (1, 8, 20, 8, 2),
        (1, 8, 8, 8, 2),
        (1, 17, 3, 6, 1),
        (1, 31, 9, 9, 1),
    )
    cases = []
    for batch, height, width, tile, factor in sizes:
        latents = np.random.default_rng(width).random((batch, 3, height, width), np.float32)
        pixels = decode_in_tiles(partial(checkered, factor=factor), latents, tile, factor)
        cases.append(
            {
                "shape": latents.shape,
                "tile": tile,
                "factor": factor,
                "latents": _numbers(latents),
                "pixels": pixels.ravel().tolist(),
            }
        )
    return cases


def checkered(latents: NDArray[np.float32], factor: int) -> NDArray[np.uint8]:
    """Latents [B, 3, h, w] in 0..1 as pixels, every second one of them a third darker.

    The pattern begins again in each tile, so tiles differ where they overlap.
    """
    large = latents.repeat(factor, axis=2).repeat(factor, axis=3).transpose(0, 2, 3, 1)
    rows, columns = np.indices(large.shape[1:3])
    darker = np.where((rows + columns) % 2, 1, 2 / 3)[..., None].astype(np.float32)
    pixels: NDArray[np.uint8] = (large * darker * np.float32(255)).astype(np.uint8)
    return pixels


def previews() -> dict[str, Any]:
    """Small pictures of latents."""
    latents = np.random.default_rng(0).standard_normal((2, 4, 3, 5), np.float32)
    preview_map = (
        (0.2, -0.1, 0.3, 0.1, 0.05),
        (0.1, 0.2, -0.3, 0.4, 0.0),
        (0.9, 0.9, 0.5, 0.6, 0.3),
    )
    return {
        "shape": latents.shape,
        "latents": _numbers(latents),
        "map": preview_map,
        "pixels": preview_pixels(latents, preview_map).ravel().tolist(),
    }


def manifest() -> dict[str, Any]:
    """A bundle.json with every kind of entry."""
    latents = TensorSpec("latents", "float32", ("batch", 4, "latent_height", "latent_width"))
    image = TensorSpec("image", "uint8", ("batch", "8*latent_height", "8*latent_width", 3))
    graph = GraphSpec("onnx/decoder.onnx", "onnx/decoder.weights", (latents,), (image,))
    shapes = ShapeRange((1, 4, 4, 4), (1, 4, 8, 8), (2, 4, 16, 16))
    key = EngineKey(
        flavour="tensorrt_rtx",
        version="1.4.0",
        compute_capability="8.9",
        platform="linux-x86_64",
        precision="fp16",
        onnx_sha256="a" * 64,
        weights_sha256="b" * 64,
        profile={"latents": shapes},
        optimization_level=3,
    )
    names = (
        *("onnx/decoder.onnx", "onnx/decoder.weights", "rtx/decoder.plan"),
        *("tokenizer/vocab.txt", "tokenizer_2/vocab.txt", "tokenizer_2/merges.txt"),
    )
    bundle = Bundle(
        path=Path(),
        model=ModelSpec("tiny", "ldm_text_to_image", 4, 8, context_tokens=77),
        defaults=Defaults(50, 1.0, 0.0, 64, 64, "ddim"),
        precision="fp16",
        graphs={"decoder": {"fp16": graph, "fp32": graph, "int8": graph}},
        limits=Limits((1, 4), (32, 128), (32, 128)),
        schedule=ScheduleSpec(
            PREDICTION_TYPES["epsilon"], 0, True, "leading", (0.9, 0.5, 0.5, 0.01)
        ),
        tokenizer=wordpiece(folder="tokenizer/"),
        provenance={"source": {"anything": [1, 2.5, None, True, "ö"]}},
        files={name: FileSpec(7, hashlib.sha256(name.encode()).hexdigest()) for name in names},
        engines=(EngineSpec("decoder", "rtx/decoder.plan", key),),
        tokenizer_2=byte_pair(),
    )
    loaded: dict[str, Any] = json.loads(manifest_json(bundle))
    return loaded


def nested(levels: int) -> list[Any]:
    """An empty list in a list, and so on: this many lists."""
    return [] if levels == 1 else [nested(levels - 1)]


NAMES = (
    "more",
    "a/b.c",
    "größe/文 2.plan",
    "/etc/passwd",
    "../up",
    "a/../b",
    "a//b",
    "./a",
    "a/",
    "",
    ".",
    "..",
    "a\\b",
    "C:a",
    "a\0b",
    "a\nb",
    "a\u200bb",
    "a\u00a0b",
    "a\u2028b",
    "a\ue000b",
    "a\u0378b",
    "bundle.json",
    "Bundle.JSON",
    "bundle.json.sig",
    "rtx/bundle.json",
    "ONNX/decoder.onnx",
    "onnx/decoder.on\u212aernel",
    "ONNX/other",
    "onnx",
    "ONNX",
    "onnx/decoder.onnx/inner",
    "RTX/Decoder.plan",
    "a/" * 15 + "a",
    "a/" * 16 + "a",
    "é" * 100,
    "é" * 100 + "e",
    "é" * 101 + "/a",
)
"""Names of a file beside those that the manifest has."""
ALIKE = (
    ("a/B.onnx", "a/b.onnx"),
    ("straße", "STRASSE"),
    ("é", "e\u0301"),
    ("é", "E\u0301"),
    ("\u1fb3", "\u03b1\u03b9"),
    ("a\u0345\u0301", "a\u0301\u0345"),
    ("\u212a", "k"),
    ("ſ", "s"),
    ("ı", "i"),
    ("ﬁ", "fi"),
    ("²", "2"),
    ("a", "A/b"),
    ("a/b", "A/c"),
)
"""Two names of files, which may be too similar."""

FILE = ("files", "tokenizer/vocab.txt")
TENSOR = ("graphs", "decoder", "fp16", "inputs", 0)
KEY = ("engines", 0, "key")
FLAGS = ("guides_above_1_only", "zeros_for_empty_prompt")
CHANGES: tuple[tuple[tuple[str | int, ...], object], ...] = (
    ((), None),
    (("format_version",), 1),
    (("format_version",), 3),
    (("format_version",), True),
    (("format_version",), 2.0),
    (("format_version",), "2"),
    (("format_version",), None),
    (("unknown",), 1),
    (("path",), "elsewhere"),
    (("model",), []),
    (("model", "name"), 5),
    (("model", "more"), 5),
    (("model", "latent_channels"), 0),
    (("model", "latent_channels"), 4.0),
    (("model", "latent_channels"), 2**16),
    (("model", "latent_channels"), 2**16 + 1),
    (("model", "vae_scale_factor"), -8),
    (("model", "vae_scale_factor"), True),
    (("model", "family"), None),
    (("model", "context_tokens"), 0),
    (("model", "context_tokens"), -1),
    (("model", "context_tokens"), "77"),
    (("model", "condition"), None),
    (("model", "condition"), "low_resolution"),
    (("model", "condition"), "masked_image"),
    (("model", "condition"), "image"),
    (("model", "condition"), "depth"),
    (("model", "condition"), 5),
    *((("model", name), value) for name in FLAGS for value in (True, False, None, 1, "true")),
    (("defaults",), []),
    (("defaults", "num_inference_steps"), 0),
    (("defaults", "num_inference_steps"), 4.0),
    (("defaults", "num_inference_steps"), 2**16 + 1),
    (("defaults", "guidance_scale"), 7),
    (("defaults", "guidance_scale"), -3.5),
    (("defaults", "guidance_scale"), "7"),
    (("defaults", "guidance_scale"), None),
    (("defaults", "eta"), 1),
    (("defaults", "eta"), 1.5),
    (("defaults", "eta"), -0.1),
    (("defaults", "height"), 0),
    (("defaults", "width"), "64"),
    (("defaults", "sampler"), "euler"),
    (("defaults", "sampler"), None),
    (("defaults", "more"), 5),
    (("precision",), "fp32"),
    (("precision",), "fp8"),
    (("precision",), ["fp16"]),
    (("graphs",), {}),
    (("graphs",), []),
    (("graphs", "decoder", "int8"), {}),
    (("graphs", "decoder", "int4"), {}),
    ((*TENSOR, "dtype"), "int64"),
    ((*TENSOR, "shape"), [1, "batch", -3]),
    ((*TENSOR, "shape"), [1.5]),
    ((*TENSOR, "shape"), [True]),
    ((*TENSOR, "shape"), "batch"),
    ((*TENSOR, "more"), 1),
    (("graphs", "decoder", "fp16", "path"), "onnx/other.onnx"),
    (("graphs", "decoder", "fp16", "weights"), "../outside"),
    (("limits", "batch"), [1, 4, 5]),
    (("limits", "batch"), [0, 4]),
    (("limits", "batch"), [4, 1]),
    (("limits", "batch"), [1, 2**16 + 1]),
    (("limits", "height"), [32, 128.0]),
    (("limits", "depth"), [1, 1]),
    (("schedule", "prediction"), "epsilon"),
    (("schedule", "prediction", "sample"), [0, 0, -1]),
    (("schedule", "prediction", "sample"), [0, 0.5]),
    (("schedule", "prediction", "sample"), [0, 0, 0, 0]),
    (("schedule", "prediction", "sample"), [0, 0, "1"]),
    (("schedule", "prediction", "noise"), [0, 0, 0]),
    (("schedule", "prediction", "noise"), [True, 0, 0]),
    (("schedule", "prediction", "more"), [0, 0, 0]),
    (("schedule", "prediction_type"), "epsilon"),
    (("schedule", "timestep_spacing"), "even"),
    (("schedule", "steps_offset"), 3),
    (("schedule", "steps_offset"), 4),
    (("schedule", "steps_offset"), -1),
    (("schedule", "set_alpha_to_one"), 1),
    (("schedule", "alphas_cumprod"), []),
    (("schedule", "alphas_cumprod"), [1, 0.5, 0.4, 0.3]),
    (("schedule", "alphas_cumprod"), [0.9, 0.95, 0.4, 0.3]),
    (("schedule", "alphas_cumprod"), [0.9, 0.5, 0, 0]),
    (("schedule", "alphas_cumprod"), [0.9, "0.5"]),
    (("schedule", "alphas_cumprod"), {"0": 0.9}),
    (("tokenizer", "strip_accents"), True),
    (("tokenizer", "strip_accents"), 0),
    (("tokenizer", "lowercase"), None),
    (("tokenizer", "max_length"), 1),
    (("tokenizer", "max_length"), 2),
    (("tokenizer", "max_length"), 2**33),
    (("tokenizer", "padding_side"), "left"),
    (("tokenizer", "padding_side"), "middle"),
    (("tokenizer", "truncation_side"), "left"),
    (("tokenizer", "truncation_side"), None),
    (("tokenizer", "start_id"), -1),
    (("tokenizer", "end_id"), 2**31 - 1),
    (("tokenizer", "end_id"), 2**31),
    (("tokenizer", "pad_id"), "0"),
    (("tokenizer", "unk_id"), None),
    (("tokenizer", "clean_text"), 1),
    (("tokenizer", "added_tokens"), []),
    (("tokenizer", "added_tokens"), None),
    (("tokenizer", "added_tokens", 0, "content"), ""),
    (("tokenizer", "added_tokens", 0, "content"), 128 * "ö"),
    (("tokenizer", "added_tokens", 0, "content"), 129 * "ö"),
    (("tokenizer", "added_tokens", 0, "content"), "[UNK]"),
    (("tokenizer", "added_tokens", 0, "id"), -1),
    (("tokenizer", "added_tokens", 0, "id"), 1),
    (("tokenizer", "added_tokens", 4, "id"), 2**31),
    (("tokenizer", "added_tokens", 4, "id"), 2**40),
    (("tokenizer", "added_tokens", 0, "lstrip"), None),
    (("tokenizer", "added_tokens", 0, "special"), True),
    (("tokenizer", "added_tokens", 0, "vectors"), 0),
    (("tokenizer", "added_tokens", 0, "vectors"), 1025),
    (("tokenizer", "added_tokens", 0, "vectors"), 2),
    (("tokenizer", "kind"), "bpe"),
    (("tokenizer", "kind"), None),
    (("tokenizer", "files"), {}),
    (("tokenizer", "files"), []),
    (("tokenizer", "files", "merges"), "tokenizer/vocab.txt"),
    (("tokenizer", "files", "vocab"), "vocab.txt"),
    (("tokenizer", "files", "vocab"), 5),
    (("tokenizer", "vocab"), "tokenizer/vocab.txt"),
    (("tokenizer", "kind"), "byte_pair"),
    (("tokenizer",), None),
    (("tokenizer_2",), None),
    (("tokenizer_2", "kind"), "wordpiece"),
    (("tokenizer_2", "kind"), ["byte_pair"]),
    (("tokenizer_2", "lowercase"), True),
    (("tokenizer_2", "strip_accents"), None),
    (("tokenizer_2", "files"), {"vocab": "tokenizer_2/vocab.txt"}),
    (("tokenizer_2", "files", "merges"), "tokenizer_2/vocab.txt"),
    (("tokenizer_2", "files", "merges"), "merges.txt"),
    (("tokenizer_2", "files", "more"), "tokenizer_2/vocab.txt"),
    (("tokenizer_2", "unk_id"), -1),
    (("tokenizer_2", "added_tokens", 0, "content"), ""),
    (("schedule", "sampler"), "euler"),
    (("preview",), []),
    (("preview",), [[1, 0, 0, 0, 0.5], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]),
    (("preview",), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]),
    (("preview",), [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]),
    (("preview",), [["1"]]),
    (("preview",), None),
    (("provenance",), {}),
    (("provenance",), "nowhere"),
    (("provenance",), None),
    (("files",), []),
    ((*FILE, "size"), -1),
    ((*FILE, "size"), 1.0),
    ((*FILE, "sha256"), "A" * 64),
    ((*FILE, "sha256"), "a" * 63),
    ((*FILE, "sha256"), "a" * 64 + "\n"),
    ((*FILE, "sha256"), 5),
    ((*FILE, "mode"), 0o644),
    *((("files", name), {"size": 1, "sha256": "a" * 64}) for name in NAMES),
    *((("provenance", "deep"), nested(levels)) for levels in (31, 32, 33, 60)),
    (("model", "latent_channels"), 2**64),
    (("provenance", "large"), 2**64),
    (("engines",), []),
    (("engines",), {}),
    (("engines",), None),
    (("engines", 0, "path"), "rtx/unlisted.plan"),
    ((*KEY, "flavour"), "tensorrt"),
    ((*KEY, "flavour"), "openvino"),
    ((*KEY, "precision"), "bf16"),
    ((*KEY, "precision"), "fp32"),
    ((*KEY, "precision"), "fp64"),
    ((*KEY, "precision"), "int8"),
    ((*KEY, "precision"), "fp8"),
    ((*KEY, "optimization_level"), "3"),
    ((*KEY, "hardware_compatibility_level"), "ampere_plus"),
    ((*KEY, "hardware_compatibility_level"), "ampere+"),
    ((*KEY, "version_compatible"), True),
    ((*KEY, "version_compatible"), "no"),
    ((*KEY, "profile"), {}),
    ((*KEY, "profile", "latents", "min"), [1, None]),
    ((*KEY, "profile", "latents", "least"), [1]),
    ((*KEY, "driver"), 5),
)
"""Where a manifest is changed, and to what."""
REMOVALS: tuple[tuple[str | int, ...], ...] = (
    *((name,) for name in ("format_version", "model", "defaults", "precision", "graphs", "limits")),
    *((name,) for name in ("schedule", "tokenizer", "provenance", "files", "engines")),
    ("model", "family"),
    ("model", "context_tokens"),
    ("model", "condition"),
    ("defaults", "eta"),
    ("schedule", "prediction", "noise"),
    ("tokenizer", "start_id"),
    ("tokenizer", "added_tokens"),
    ("tokenizer", "added_tokens", 0, "rstrip"),
    ("tokenizer", "strip_accents"),
    ("tokenizer", "files", "vocab"),
    ("tokenizer_2",),
    ("tokenizer_2", "kind"),
    ("tokenizer_2", "files", "merges"),
    FILE,
    (*FILE, "size"),
    (*TENSOR, "name"),
    (*KEY, "platform"),
    (*KEY, "hardware_compatibility_level"),
    (*KEY, "version_compatible"),
)


def manifest_cases() -> Iterator[dict[str, Any]]:
    """Changed manifests and what reading one gives: "ok" or the error's class."""
    listed = manifest()["files"]
    alike: list[tuple[tuple[str | int, ...], object]] = [
        (("files",), listed | dict.fromkeys(names, listed[FILE[1]])) for names in ALIKE
    ]
    for path, value in (*CHANGES, *alike):
        yield {"path": path, "value": value, "gives": _reading(path, value, remove=False)}
    for path in REMOVALS:
        yield {"path": path, "gives": _reading(path, None, remove=True)}


def changed(document: Any, path: tuple[str | int, ...], value: object, *, remove: bool) -> Any:
    """A copy of a JSON document with one entry set or removed."""
    made = copy.deepcopy(document)
    if not path:
        return made
    place = made
    for step in path[:-1]:
        place = place[step]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


def _reading(path: tuple[str | int, ...], value: object, *, remove: bool) -> str:
    try:
        parse_manifest(Path("bundle"), changed(manifest(), path, value, remove=remove))
    except BundleError as error:
        return type(error).__name__
    return "ok"


def onnx_files() -> list[dict[str, Any]]:
    """Bytes of ONNX models and the files that they name; "refused" for bytes that are not one."""
    entry = _field(1, b"location") + _field(2, b"w")
    tensor = _field(13, entry)
    graph = _field(5, tensor)
    contents = (
        b"",
        _field(7, graph),
        _field(7, _field(15, _field(1, tensor) + _field(2, tensor))),
        _field(7, _field(1, _field(5, _field(5, tensor)))),
        _field(7, _field(1, _field(5, _field(6, graph) + _field(10, tensor) + _field(11, graph)))),
        _field(
            7, _field(1, _field(5, _field(22, _field(1, tensor)) + _field(23, _field(2, tensor))))
        ),
        _field(20, _field(1, graph) + _field(2, graph)),
        _field(25, _field(7, _field(5, _field(5, tensor))) + _field(11, _field(5, tensor))),
        _field(8, graph),
        _field(7, _field(5, _field(13, entry + _field(2, "größe".encode())))),
        _field(7, _field(5, _field(13, _field(1, b"length") + _field(2, b"4")))),
        _field(7, _field(5, _field(13, _field(1, b"location") + _field(2, b"\xff")))),
        b"\x08\x07" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + _field(7, graph),
        b"\x08" + b"\xff" * 9 + b"\x01",
        _field(7, graph)[:-1],
        b"\x0b",
        b"\x3a",
        b"\x09abc",
        b"\xff" * 11,
        b"\x82\x80\x80\x80\x10\x00",
    )
    return [{"model": content.hex(), "locations": _locations(content)} for content in contents]


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


def _locations(model: bytes) -> list[str] | str:
    try:
        return sorted(external_locations(model))
    except (ValueError, IndexError):
        return "refused"


def signatures() -> dict[str, Any]:
    """Ed25519 signatures of a text; signing gives the same bytes every time."""
    private = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in (1, 2)]
    keys = [
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for key in private
    ]
    text = "bundle.json's bytes, größe\n"
    signature = private[0].sign(text.encode())
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    cases = (
        (text, signature, [0]),
        (text, signature, [1, 0]),
        (text, signature, [1]),
        (text + " ", signature, [0]),
        (text, flipped, [0, 1]),
        (text, signature[:-1], [0]),
        (text, signature + b"\0", [0]),
        (text, b"", [0]),
        (text, bytes(64), [0]),
        (text, None, [0]),
    )
    return {
        "keys": keys,
        "cases": [
            {
                "text": signed,
                "signature": None if given is None else given.hex(),
                "trusted": trusted,
                "gives": _checked(signed, given, [keys[number] for number in trusted]),
            }
            for signed, given, trusted in cases
        ],
    }


def _checked(text: str, signature: bytes | None, trusted_keys: list[str]) -> str:
    """What checking the signature gives: "ok" or the error's class."""
    with TemporaryDirectory() as folder:
        if signature is not None:
            (Path(folder) / SIGNATURE).write_bytes(signature)
        try:
            check_signature(Path(folder), text.encode(), [key.encode() for key in trusted_keys])
        except IntegrityError as error:
            return type(error).__name__
    return "ok"


def contents() -> dict[str, str]:
    """File name → text of every golden file."""
    tokens = {"texts": TEXTS, "cases": list(tokenizer_cases())}
    documents: dict[str, Any] = {
        "tokenizer.json": tokens,
        "characters.json": character_digests(),
        "noise.json": noise(),
        "samplers.json": {
            "schedules": {name: asdict(spec) for name, spec in schedules().items()},
            "cases": list(sampler_cases()),
        },
        "guidance.json": guidance(),
        "inpainting.json": inpainting(),
        "tiling.json": tiling(),
        "previews.json": previews(),
        "manifest.json": {"manifest": manifest(), "cases": list(manifest_cases())},
        "onnx_files.json": onnx_files(),
        "signatures.json": signatures(),
    }
    return {name: dense(document) + "\n" for name, document in documents.items()}


def dense(value: Any, depth: int = 0) -> str:
    """JSON with a line for each entry of the outer levels, so that changes can be read."""
    if depth < 2 and isinstance(value, dict):
        inner = ",\n".join(f"{json.dumps(k)}: {dense(v, depth + 1)}" for k, v in value.items())
        return f"{{\n{inner}\n}}"
    if depth < 2 and isinstance(value, list | tuple):
        return "[\n" + ",\n".join(dense(one, depth + 1) for one in value) + "\n]"
    return json.dumps(value)


def main() -> None:
    """Write every golden file."""
    VOCABULARY.write_text(vocabulary(), encoding="utf-8")
    for name, text in contents().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
