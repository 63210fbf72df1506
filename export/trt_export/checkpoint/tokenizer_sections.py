"""Sections of tokenizer.json that versions of transformers drop: refused where that shows.

transformers 5 makes BERT's model, pre-tokenizer and post-processor from the vocabulary alone, where
transformers 4 takes the file's. Both set the normalizer by tokenizer_config.json, or BERT's values.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

STATED_AS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}
"""Value of the normalizer → setting of tokenizer_config.json, which both versions prefer."""
MODEL = ("type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
NORMALIZER = ("type", "clean_text", *STATED_AS)


def check_sections(own: Mapping[str, Any], config: Mapping[str, Any], backend: Any) -> None:
    """ValueError for a value of tokenizer.json that transformers' backend does not have.

    own: the file's sections. config: tokenizer_config.json.
    """
    built = json.loads(backend.to_str())
    _check_values("model", MODEL, own, built)
    stated = {value for value, setting in STATED_AS.items() if setting in config}
    _check_values("normalizer", [one for one in NORMALIZER if one not in stated], own, built)
    _check("pre_tokenizer", own.get("pre_tokenizer"), built["pre_tokenizer"])
    _check_post_processor(own.get("post_processor"), backend)


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
