"""Sections of tokenizer.json that versions of transformers drop: refused where that shows.

transformers 5 makes BERT's model, pre-tokenizer and post-processor from the vocabulary alone, where
transformers 4 takes the file's. Both set the normalizer by tokenizer_config.json, or BERT's values.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trt_pipeline.bundle.tokenizer_specs import BytePairSpec
from trt_pipeline.text.engines import WORDS, byte_pair

STATED_AS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}
"""Value of the normalizer → setting of tokenizer_config.json, which both versions prefer."""
MODEL = ("type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
BYTE_PAIR_MODEL = (
    *("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"),
    *("fuse_unk", "byte_fallback", "ignore_merges"),
)
OLDER_WORDS = WORDS.removeprefix(r"<\|startoftext\|>|<\|endoftext\|>|")
"""Of transformers 4, which differs where a text has the names of special tokens in another case."""
NORMALIZER = ("type", "clean_text", *STATED_AS)


def check_wordpiece_sections(
    own: Mapping[str, Any], config: Mapping[str, Any], backend: Any
) -> None:
    """ValueError for a value of tokenizer.json that transformers' backend does not have.

    own: the file's sections. config: tokenizer_config.json.
    """
    built = json.loads(backend.to_str())
    _check_values("model", MODEL, own, built)
    stated = {value for value, setting in STATED_AS.items() if setting in config}
    _check_values("normalizer", [one for one in NORMALIZER if one not in stated], own, built)
    _check("pre_tokenizer", own.get("pre_tokenizer"), built["pre_tokenizer"])
    _check_post_processor(own.get("post_processor"), backend)


def check_byte_pair_sections(own: Mapping[str, Any], backend: Any) -> None:
    """Likewise for CLIP's, whose sections older versions write in other words."""
    written, built = json.loads(_emptied(own).to_str()), json.loads(backend.to_str())
    _check_values("model", BYTE_PAIR_MODEL, written, built)
    for name in ("normalizer", "pre_tokenizer"):
        _check(name, _today(written[name]), _today(built[name]))
    _check_post_processor(own.get("post_processor"), backend)


def check_engine(folder: Path, spec: BytePairSpec, backend: Any) -> None:
    """ValueError for a section of transformers' backend that the runtimes' tokenizer lacks."""
    ours, built = json.loads(byte_pair(folder, spec).to_str()), json.loads(backend.to_str())
    pairs = [(name, ours[name], _today(built[name])) for name in ("normalizer", "pre_tokenizer")]
    pairs += [(f"model.{key}", ours["model"][key], built["model"][key]) for key in BYTE_PAIR_MODEL]
    for name, expected, found in pairs:
        if found != expected:
            raise ValueError(
                f"{name} is {json.dumps(found):.200}, expected {json.dumps(expected):.200}"
            )


def _emptied(own: Mapping[str, Any]) -> Any:
    """The tokenizer of a tokenizer.json without its tokens."""
    from tokenizers import Tokenizer

    model = {**own["model"], "vocab": {}, "merges": []}
    return Tokenizer.from_str(json.dumps({**own, "model": model, "added_tokens": []}))


def _today(section: Any) -> Any:
    """A section with the pattern of words that transformers 5 has."""
    text = json.dumps(section)
    return json.loads(text.replace(json.dumps(OLDER_WORDS), json.dumps(WORDS)))


def _check_values(
    name: str, keys: Iterable[str], own: Mapping[str, Any], built: Mapping[str, Any]
) -> None:
    section = own.get(name)
    if not isinstance(section, dict):
        raise _dropped(name, section, built[name])
    for key in keys:
        _check(f"{name}.{key}", section.get(key), built[name][key])


def _check(name: str, own: object, built: object) -> None:
    if type(own) is not type(built) or own != built:
        raise _dropped(name, own, built)


def _check_post_processor(own: object, backend: Any) -> None:
    """Two kinds of post-processors may add the same tokens."""
    word = backend.encode("a", add_special_tokens=False)
    made, built = (one.post_process(word) for one in (_with(own), backend))
    if made.ids != built.ids:
        raise _dropped("a with its post_processor", _pairs(made), _pairs(built))


def _pairs(encoding: Any) -> dict[str, int]:
    return dict(zip(encoding.tokens, encoding.ids, strict=True))


def _with(post_processor: object) -> Any:
    from tokenizers import Tokenizer

    model = {**dict.fromkeys(MODEL, ""), "type": "WordPiece", "max_input_chars_per_word": 1}
    sections = {"version": "1.0", "post_processor": post_processor, "model": {**model, "vocab": {}}}
    return Tokenizer.from_str(json.dumps(sections))


def _dropped(name: str, own: object, built: object) -> ValueError:
    setting = STATED_AS.get(name.removeprefix("normalizer."))
    advice = (
        f"State {setting} in tokenizer_config.json, as the text encoder was trained"
        if setting
        else "Write the latter there if the text encoder was trained with it"
    )
    return ValueError(
        f"{name} is {json.dumps(own):.80}, but transformers takes {json.dumps(built):.80}. {advice}"
    )
