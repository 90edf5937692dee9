"""The tokenizer: byte-level BPE trained on both languages, or the one of the checkpoint that training starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.engines.base import stage
from components.engines.checks.stage import require_passed
from components.engines.language.bpe import Vocabulary, train_bpe
from components.translation.architecture import Architecture

SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>", "mask_token": "<mask>"}


class Tokenizer(Vocabulary):
    """Byte-level BPE over both languages (not trained when the architecture has `init_from`)."""

    vocab_size: Annotated[int, Field(ge=300)] = 1_600


def tokenizer(params: Tokenizer, architecture: Architecture, cleaned: Path, checked: Path, tokenizer: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads. Sequences end in eos; pad differs from eos."""
    require_passed(checked)
    if architecture.init_from:
        from components.translation.networks.marian import load_tokenizer

        load_tokenizer(architecture.init_from, architecture).save_pretrained(tokenizer)
        return
    train_bpe(_sentences(cleaned), params, SPECIAL, single="$A </s>", pair="$A </s> $B </s>").save_pretrained(tokenizer)


def _sentences(cleaned: Path) -> Iterator[str]:
    from components.engines.language.pairs import Pairs

    for pair in Pairs(cleaned, "train"):
        yield pair.source
        yield pair.target


if __name__ == "__main__":
    stage.main(tokenizer)
