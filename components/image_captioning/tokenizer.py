"""The tokenizer: byte-level BPE trained on the captions, or the one of the checkpoint that training starts from."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.captioned.tokenizer import write_tokenizer
from components.engines.language.bpe import Vocabulary
from components.image_captioning.architecture import Architecture


class Tokenizer(Vocabulary):
    """How large the vocabulary of captions is."""


def tokenizer(params: Tokenizer, architecture: Architecture, cleaned: Path, checked: Path, tokenizer: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads. Sequences stand between a start and an end token."""
    write_tokenizer(params, architecture.init_from, cleaned, checked, tokenizer)


if __name__ == "__main__":
    stage.main(tokenizer)
