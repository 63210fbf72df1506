"""Tokenizers of the tokenizers package as transformers makes them, but for their added tokens."""

from pathlib import Path
from typing import TYPE_CHECKING

from trt_pipeline.bundle.tokenizer_specs import BytePairSpec, WordPieceSpec
from trt_pipeline.text.vocabulary import check_id, read_merges, read_vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
"""What CLIP makes words of; the rest of a text, white space, is left out."""


def wordpiece(folder: Path, spec: WordPieceSpec) -> "Tokenizer":
    """BERT's; BundleError for a vocabulary that is none, or lacks the token of unk_id."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    path = folder / spec.files["vocab"]
    ids = read_vocabulary(path)
    check_id(path, "unk_id", spec.unk_id, len(ids))
    engine = Tokenizer(models.WordPiece(ids, unk_token=[*ids][spec.unk_id]))
    engine.normalizer = normalizers.BertNormalizer(
        clean_text=spec.clean_text,
        handle_chinese_chars=spec.tokenize_chinese_chars,
        strip_accents=spec.strip_accents,
        lowercase=spec.lowercase,
    )
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return engine


def byte_pair(folder: Path, spec: BytePairSpec) -> "Tokenizer":
    """CLIP's; BundleError for files that hold no vocabulary or no merges of its tokens."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    path = folder / spec.files["vocab"]
    ids = read_vocabulary(path)
    check_id(path, "unk_id", spec.unk_id, len(ids))
    merges = read_merges(folder / spec.files["merges"], ids)
    engine = Tokenizer(
        models.BPE(
            ids,
            merges,
            unk_token=[*ids][spec.unk_id],
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    )
    engine.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return engine
