"""Families of models: one file each, which says as data what its checkpoints are made of.

docs/add-a-family.md walks through adding one. A file is found by being here; another folder of
such files is found once it is in this package's __path__.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Literal, TypeAlias

from trt_pipeline.bundle.manifest import GRAPHS, Condition

Role: TypeAlias = Literal[
    "text_encoder",
    "text_encoder_2",
    "unet",
    "vae",
    "tiny_decoder",
    "safety_checker",
    "feature_extractor",
    "scheduler",
    "tokenizer",
    "tokenizer_2",
]
TOKENIZERS: tuple[Role, ...] = ("tokenizer", "tokenizer_2")
"""The second is of a second text encoder."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a checkpoint in diffusers' layout."""

    folder: str
    classes: tuple[str, ...]
    """Names that model_index.json may give its class; none where every known class will do."""
    weights: tuple[str, ...] = ()
    """Names of its weight file or of the index of its shards, in the order in which the reference
    looks for them; none for a part without weights."""
    config: str = "config.json"
    """Empty for a part of which no single file must be there."""
    files: tuple[str, ...] = ()
    """Names of other files, of which those that are there are read."""
    library: str = "diffusers"
    """Where model_index.json has its class from."""
    other_folders: tuple[str, ...] = ()
    """Further names under which repositories keep it."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Every name that it may have."""
        return (self.folder, *self.other_folders)


@dataclass(frozen=True, slots=True)
class Section:
    """A network of a checkpoint in CompVis' own layout."""

    name: str
    """Of the YAML's section."""
    target: str
    """Name of the section's class."""
    prefix: str
    """How the names of its weights begin."""


@dataclass(frozen=True, slots=True)
class SingleFile:
    """How CompVis' own layout keeps a model: the weights in one file, the rest in a YAML."""

    networks: Mapping[Role, Section]
    conditioning_key: str
    """How LatentDiffusion hands the condition to its UNet."""


@dataclass(frozen=True, slots=True)
class Distilled:
    """Checkpoints of a family that were trained to draw in few steps: how their scheduler tells,
    and what they draw with by default."""

    schedulers: tuple[str, ...]
    """Classes, of which they have one."""
    num_inference_steps: int
    guidance_scale: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that their scheduler has as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the checkpoints of a family have in common."""

    name: str = ""
    """Of the family's file, which need not repeat it."""
    pipeline: str | None = None
    """Name of the class in model_index.json; None for a family of single files. Where several
    families have it, the UNet's channels and time_cond_proj_dim tell which one is meant."""
    other_pipelines: tuple[str, ...] = ()
    """Further names that it may have there: the same parts, called in other ways."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Other parts that model_index.json may name → why pictures do not depend on them."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Settings in model_index.json with which a checkpoint cannot be exported, if true → why."""
    single_file: SingleFile | None = None
    """None for a family of folders in diffusers' layout."""
    parts: Mapping[Role, Part]
    """A text_encoder makes the context that the UNet attends to."""
    condition: Condition | None = None
    """What is joined to the channels of the latents."""
    embeds_guidance: bool = False
    """Whether the guidance scale joins the time embedding, as in latent consistency models
    (arXiv:2310.04378, section 4.3)."""
    image_to_image: bool = False
    """Whether pictures may begin with a picture, for which a bundle needs the VAE's encoder."""
    num_inference_steps: int
    """By default, as are the two that follow."""
    guidance_scale: float = 1.0
    eta: float = 0.0
    distilled: tuple[Distilled, ...] = ()
    """Which checkpoints have other defaults."""
    guides_above_1_only: bool = False
    """Whether the reference guides for a guidance scale above 1 only, as Stable Diffusion's do."""
    zeros_for_empty_prompt: bool = False
    """Whether the reference reads force_zeros_for_empty_prompt, which is true by default."""
    reference: str | None
    """Name of the pipeline in diffusers whose pictures the bundle's are; None where it has none,
    and only graphs can be compared."""
    scheduler_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its scheduler that the reference corrects, whatever the checkpoint says."""
    corrected_sample_size: int = 0
    """The least sample_size that the reference takes from a UNet of diffusers before 0.9."""
    scales_latents: bool = True
    """Whether the reference divides latents by the VAE's scaling_factor before it decodes them."""
    normalizes_latents: bool = False
    """Whether the reference reads the VAE's latents_mean and latents_std."""
    scales_input: bool = False
    """Whether the reference scales what the UNet reads, and nothing else, as schedulers ask that
    count in sigmas."""

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs of a bundle, in their order."""
        has = {
            "text_encoder": "text_encoder" in self.parts,
            "tiny_decoder": "tiny_decoder" in self.parts,
            "encoder": self.image_to_image,
            "safety_checker": "safety_checker" in self.parts,
        }
        return tuple(graph for graph in GRAPHS if has.get(graph, True))

    @property
    def pipelines(self) -> tuple[str, ...]:
        """Every name that model_index.json may have for it."""
        return (self.pipeline, *self.other_pipelines) if self.pipeline else ()

    def condition_channels(self, latent_channels: int) -> int:
        """How many channels the condition joins to the latents."""
        match self.condition:
            case None:
                return 0
            case "low_resolution":
                return 3
            case "masked_image":
                return 1 + latent_channels
            case "image":
                return latent_channels


DIFFUSERS_WEIGHTS = (
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
)
"""Weight files of diffusers' classes, which prefer shards; pickles come last."""
TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Weight files of transformers' classes, which prefer one file."""
SCHEDULER = Part("scheduler", classes=(), config="scheduler_config.json")
TINY_DECODER = Part("tiny_decoder", classes=("AutoencoderTiny",), weights=DIFFUSERS_WEIGHTS)
"""A second decoder, from a folder of its own."""
SAFETY_CHECKER: Mapping[Role, Part] = {
    "safety_checker": Part(
        "safety_checker",
        classes=("StableDiffusionSafetyChecker",),
        weights=TRANSFORMERS_WEIGHTS,
        library="stable_diffusion",
    ),
    "feature_extractor": Part(
        "feature_extractor",
        classes=("CLIPImageProcessor", "CLIPFeatureExtractor", "CLIPImageProcessorPil"),
        config="preprocessor_config.json",
        library="transformers",
    ),
}
"""What looks at finished pictures, and how it is given them; only on request."""
ON_REQUEST: tuple[Role, ...] = ("tiny_decoder", *SAFETY_CHECKER)
"""Parts that the reference draws without."""
BERT_TOKENIZER = Part(
    "tokenizer",
    classes=("BertTokenizer", "BertTokenizerFast"),
    config="",
    files=(
        "tokenizer.json",
        "vocab.txt",
        "added_tokens.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ),
    library="transformers",
)
"""transformers 4 writes the last four, transformers 5 the first and the last."""
CLIP_TOKENIZER = Part(
    "tokenizer",
    classes=("CLIPTokenizer", "CLIPTokenizerFast"),
    config="",
    files=(
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
    ),
    library="transformers",
)
"""transformers 4 writes all but the first, transformers 5 the first and the last."""
CLIP_TOKENIZER_2 = replace(CLIP_TOKENIZER, folder="tokenizer_2")
"""Of a second text encoder."""


def families() -> dict[str, Family]:
    """Name → family, of every file that is found."""
    return {name: replace(family, name=name) for name, family in _found()}


def _found() -> Iterator[tuple[str, Family]]:
    for module in pkgutil.iter_modules(__path__):
        yield module.name, import_module(f"{__name__}.{module.name}").FAMILY
