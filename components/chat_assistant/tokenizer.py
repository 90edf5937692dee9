"""The tokenizer: byte-level BPE trained on all that is read, or the checkpoint's, with a token for each role of the chat
template."""

from __future__ import annotations

from pathlib import Path

from components.chat_assistant.architecture import Architecture
from components.engines.base import stage
from components.engines.language.bpe import Vocabulary


class Tokenizer(Vocabulary):
    """How large the vocabulary is (not trained when the architecture has `init_from`)."""


def tokenizer(
    params: Tokenizer, architecture: Architecture, cleaned: Path, checked: Path, tokenizer: Path, lengths: Path
) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads, with its chat template; `lengths` (JSON) counts the
    records that fit into `max_tokens`, those cut to their newest exchanges, and those too long to be used."""
    from components.chat_assistant.ingest import KINDS
    from components.chat_assistant.tasks.reading import counts_of
    from components.engines.base.paths import write_json
    from components.engines.checks.stage import require_passed
    from components.engines.language.bpe import write_chat_tokenizer
    from components.engines.language.chat_tokens import ChatTokens

    require_passed(checked)
    words = write_chat_tokenizer(params, architecture.init_from, [cleaned / kind for kind in KINDS], tokenizer)
    write_json(lengths, counts_of(cleaned, ChatTokens(words, architecture.max_tokens)))


if __name__ == "__main__":
    stage.main(tokenizer)
