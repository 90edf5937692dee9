"""The tokenizer: byte-level BPE trained on the texts, or the one of the checkpoint that training starts from."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.language.bpe import Vocabulary, write_tokenizer
from components.SYSTEM.architecture import Architecture


class Tokenizer(Vocabulary):
    """How large the vocabulary is (not trained when the architecture has `init_from`)."""


def tokenizer(params: Tokenizer, architecture: Architecture, cleaned: Path, checked: Path, tokenizer: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads.

    Sequences stand behind a start token: a text that is to be continued has no end.
    """
    write_tokenizer(params, architecture.init_from, cleaned, checked, tokenizer, single="<s> $A")


if __name__ == "__main__":
    stage.main(tokenizer)
