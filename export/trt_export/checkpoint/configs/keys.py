"""Keys of configurations: what a checkpoint may say, and what of it changes no picture.

A key is a setting of the class that diffusers builds, or harmless for a reason that stands here, or
refused by name: diffusers drops what it does not know with a warning that few read.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import diffusers
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig


@dataclass(frozen=True, slots=True)
class Harmless:
    """Why a key changes no picture."""

    reason: str
    values: tuple[Any, ...] | None = None
    """The values for which that holds; None for all."""


Keys = Mapping[str, Harmless]

EVALUATION = Harmless("dropout does nothing in evaluation")
TRAINING = Harmless("only training reads it")
MOVING_AVERAGE = Harmless("how training averaged the weights, which are stored averaged")
UNREAD_BY_PIPELINE = Harmless("neither the class nor its pipeline reads it")
TILING = Harmless("a size of tiles, which the pipeline decodes without")
STORED = Harmless("how weights are stored; arithmetic follows --precision")
RECORD = Harmless("a record of what wrote the file")
OUTPUTS = Harmless("the pipeline reads the last hidden state, which is always there")
GENERATION = Harmless("text generation, which a text encoder does not do")
CLASSIFICATION = Harmless("classification, which a text encoder does not do")
UNREAD_BY_CLIP = Harmless("CLIPTextModel never reads it")
UNREAD_BY_CHECKER = Harmless("the safety checker never reads it")
UNREAD_BY_BERT = Harmless("LDMBertModel never reads it")

DEFAULTED = Harmless("diffusers takes its defaults for the settings in it", ([],))
UNQUANTIZED = Harmless("quantized weights cannot be exported", (None,))

MODEL: Keys = {
    "_use_default_values": DEFAULTED,
    "quantization_config": UNQUANTIZED,
    "torch_dtype": STORED,
    "decay": MOVING_AVERAGE,
    "inv_gamma": MOVING_AVERAGE,
    "min_decay": MOVING_AVERAGE,
    "optimization_step": MOVING_AVERAGE,
    "power": MOVING_AVERAGE,
    "update_after_step": MOVING_AVERAGE,
    "use_ema_warmup": MOVING_AVERAGE,
}
"""Of every model of diffusers; EMAModel.save_pretrained writes the moving average's."""
SCHEDULER: Keys = {
    "_use_default_values": DEFAULTED,
    "clip_predicted_image": Harmless("clip_sample since diffusers 0.1, which is read"),
    "predict_epsilon": Harmless("prediction_type since diffusers 0.9", (True,)),
    "tensor_format": Harmless("the arrays of schedulers before diffusers 0.4"),
    "timestep_values": Harmless("no version of diffusers had other steps", (None,)),
    "timesteps": Harmless("num_train_timesteps since diffusers 0.1, 1000 by default", (1000,)),
}
"""Of every scheduler, as diffusers before 1.0 wrote them."""
TRANSFORMERS: Keys = {
    "_attn_implementation_autoset": RECORD,
    "_commit_hash": RECORD,
    "_name_or_path": RECORD,
    "architectures": RECORD,
    "name_or_path": RECORD,
    "transformers_version": RECORD,
    "dtype": STORED,
    "torch_dtype": STORED,
    "use_bfloat16": STORED,
    "output_attentions": OUTPUTS,
    "output_hidden_states": OUTPUTS,
    "return_dict": OUTPUTS,
    "torchscript": OUTPUTS,
    "gradient_checkpointing": TRAINING,
    "problem_type": TRAINING,
    "tf_legacy_loss": TRAINING,
    "finetuning_task": CLASSIFICATION,
    "id2label": CLASSIFICATION,
    "label2id": CLASSIFICATION,
    "num_labels": CLASSIFICATION,
    "task_specific_params": CLASSIFICATION,
    "quantization_config": UNQUANTIZED,
    "transformers_weights": Harmless("it names other files of weights", (None,)),
    **dict.fromkeys(
        (
            "add_cross_attention",
            "bad_words_ids",
            "begin_suppress_tokens",
            "bos_token_id",
            "cross_attention_hidden_size",
            "decoder_start_token_id",
            "diversity_penalty",
            "do_sample",
            "early_stopping",
            "encoder_no_repeat_ngram_size",
            "eos_token_id",
            "exponential_decay_length_penalty",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "is_decoder",
            "is_encoder_decoder",
            "length_penalty",
            "max_length",
            "min_length",
            "no_repeat_ngram_size",
            "num_beam_groups",
            "num_beams",
            "num_return_sequences",
            "output_scores",
            "prefix",
            "remove_invalid_values",
            "repetition_penalty",
            "return_dict_in_generate",
            "sep_token_id",
            "suppress_tokens",
            "temperature",
            "tokenizer_class",
            "top_k",
            "top_p",
            "typical_p",
        ),
        GENERATION,
    ),
}
"""Of every model of transformers: what PretrainedConfig of 4.57 and 5.23 writes."""
CLIP: Keys = {
    **TRANSFORMERS,
    "attention_dropout": EVALUATION,
    "chunk_size_feed_forward": UNREAD_BY_CLIP,
    "dropout": EVALUATION,
    "initializer_factor": TRAINING,
    "initializer_range": TRAINING,
    "model_type": Harmless("it names another class of text encoders", ("clip_text_model",)),
    "pad_token_id": UNREAD_BY_CLIP,
    "pruned_heads": Harmless("a CLIP text encoder has all its heads", ({}, None)),
    "tie_encoder_decoder": Harmless("a CLIP text encoder has no decoder", (False,)),
    "tie_word_embeddings": Harmless("a CLIP text encoder has no output layer"),
    "use_attention_mask": Harmless("padding is attended to like text", (False, None)),
    "use_cache": GENERATION,
}
"""Of both of CLIP's text encoders."""

HARMLESS: Mapping[str, Keys] = {
    "UNet2DConditionModel": {**MODEL, "dropout": EVALUATION},
    "UNet2DModel": {**MODEL, "dropout": EVALUATION},
    "AutoencoderKL": {
        **MODEL,
        "force_upcast": UNREAD_BY_PIPELINE,
        "latents_mean": UNREAD_BY_PIPELINE,
        "latents_std": UNREAD_BY_PIPELINE,
        "sample_size": TILING,
        "shift_factor": UNREAD_BY_PIPELINE,
    },
    "VQModel": {**MODEL, "force_upcast": UNREAD_BY_PIPELINE, "sample_size": UNREAD_BY_PIPELINE},
    "AutoencoderTiny": {
        **MODEL,
        "block_out_channels": Harmless("decoder_block_out_channels under an older name"),
        "force_upcast": UNREAD_BY_PIPELINE,
        "latent_magnitude": UNREAD_BY_PIPELINE,
        "latent_shift": UNREAD_BY_PIPELINE,
        "shift_factor": UNREAD_BY_PIPELINE,
    },
    "CLIPTextModel": {**CLIP, "projection_dim": UNREAD_BY_CLIP},
    "CLIPTextModelWithProjection": CLIP,
    "CLIPVisionModel": {
        **TRANSFORMERS,
        "attention_dropout": EVALUATION,
        "dropout": EVALUATION,
        "chunk_size_feed_forward": UNREAD_BY_CHECKER,
        "initializer_factor": TRAINING,
        "initializer_range": TRAINING,
        "model_type": Harmless("it names another class of networks", ("clip_vision_model",)),
        "pad_token_id": UNREAD_BY_CHECKER,
        "projection_dim": UNREAD_BY_CHECKER,
        "pruned_heads": Harmless("CLIPVisionModel has all its heads", ({}, None)),
        "tie_encoder_decoder": Harmless("CLIPVisionModel has no decoder", (False,)),
        "tie_word_embeddings": UNREAD_BY_CHECKER,
        "use_cache": GENERATION,
    },
    "StableDiffusionSafetyChecker": {
        **TRANSFORMERS,
        "chunk_size_feed_forward": UNREAD_BY_CHECKER,
        "pruned_heads": Harmless("CLIP has all its heads", ({}, None)),
        "tie_encoder_decoder": Harmless("CLIP has no decoder", (False,)),
        "tie_word_embeddings": UNREAD_BY_CHECKER,
        "use_cache": GENERATION,
        "initializer_factor": TRAINING,
        "logit_scale": UNREAD_BY_CHECKER,
        "logit_scale_init_value": UNREAD_BY_CHECKER,
        "model_type": Harmless("it names another class of networks", ("clip",)),
        "text_config": UNREAD_BY_CHECKER,
        "text_config_dict": UNREAD_BY_CHECKER,
    },
    "LDMBertModel": {
        **TRANSFORMERS,
        "activation_dropout": EVALUATION,
        "attention_dropout": EVALUATION,
        "chunk_size_feed_forward": UNREAD_BY_BERT,
        "classifier_dropout": EVALUATION,
        "dropout": EVALUATION,
        "encoder_layerdrop": EVALUATION,
        "init_std": TRAINING,
        "model_type": Harmless("it names another class of text encoders", ("ldmbert",)),
        "num_hidden_layers": Harmless("LDMBertModel reads encoder_layers"),
        "pad_token_id": UNREAD_BY_BERT,
        "pruned_heads": Harmless("LDMBertModel has all its heads", ({}, None)),
        "scale_embedding": UNREAD_BY_BERT,
        "tie_encoder_decoder": Harmless("LDMBertModel has no decoder", (False,)),
        "tie_word_embeddings": Harmless("the pipeline does not read its output layer"),
        "use_cache": GENERATION,
    },
}
"""Class → keys that change no picture, among them settings of the class that nothing reads."""
CONFIG_CLASSES: Mapping[str, Any] = {
    "CLIPVisionModel": CLIPVisionConfig,
    "StableDiffusionSafetyChecker": CLIPConfig,
    "CLIPTextModel": CLIPTextConfig,
    "CLIPTextModelWithProjection": CLIPTextConfig,
    "LDMBertModel": LDMBertConfig,
}
"""Model of transformers → the class of its configuration."""
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "StableDiffusionSafetyChecker": {
        "vision_config": "CLIPVisionModel",
        "vision_config_dict": "CLIPVisionModel",
    }
}
"""Class → its settings that are a network's configuration → the class of that network. transformers
lets the second overwrite what the first says."""


def known_settings(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a class reads of its configuration; ValueError for a key that may change pictures
    unseen."""
    is_scheduler, sections = name not in HARMLESS, SECTIONS.get(name, {})
    harmless, settings = (SCHEDULER if is_scheduler else HARMLESS[name]), settings_of(name)
    for key, value in config.items():
        if key in harmless:
            _check_value(key, value, harmless[key])
        elif key == "_class_name" and not is_scheduler:
            _check_class(name, value)
        elif not (key in settings or _is_private(name, key) or (is_scheduler and _is_shared(key))):
            raise ValueError(
                f"{key} is {value!r:.80}, but it is not a setting of {name} in diffusers "
                f"{diffusers.__version__} and may change pictures. Remove it if it does not, or "
                "upgrade diffusers"
            )
    for key in sections.keys() & config.keys():
        known_settings(sections[key], config[key] or {})
    return {key: value for key, value in config.items() if key in settings}


def settings_of(name: str) -> frozenset[str]:
    """What the class that diffusers builds reads from its configuration."""
    if name not in CONFIG_CLASSES:
        return _parameters(getattr(diffusers, name))
    config = CONFIG_CLASSES[name]
    return _parameters(config) | config.attribute_map.keys() | SECTIONS.get(name, {}).keys()


def _parameters(kind: Any) -> frozenset[str]:
    found = inspect.signature(kind.__init__).parameters.values()
    gathering = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return frozenset(one.name for one in found if one.kind not in gathering) - {"self"}


def _is_private(name: str, key: str) -> bool:
    """diffusers hands no key with an underscore to its classes; transformers does."""
    return key.startswith("_") and name not in CONFIG_CLASSES


def _is_shared(key: str) -> bool:
    """Whether it belongs to another scheduler: a configuration is made to be read by them all."""
    return key in _settings_of_schedulers()


@lru_cache
def _settings_of_schedulers() -> frozenset[str]:
    names = (name for name in dir(diffusers) if name.endswith("Scheduler"))
    return frozenset().union(*(_parameters(getattr(diffusers, name)) for name in names))


def _check_value(key: str, value: Any, harmless: Harmless) -> None:
    allowed = harmless.values
    if allowed is None or any(type(value) is type(one) and value == one for one in allowed):
        return
    choices = " or ".join(map(repr, allowed))
    raise ValueError(f"{key} is {value!r:.80}: {harmless.reason}; only {choices} can be exported")


def _check_class(name: str, stated: Any) -> None:
    if stated != name:
        raise ValueError(
            f"_class_name is {stated!r:.80}, but model_index.json says {name}; correct one of them"
        )
