"""The tokenizer of both networks: byte-level BPE trained on chunks and prompts, or the one of the generator's checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.engines.base import stage
from components.engines.language.bpe import Vocabulary
from components.rag.architecture import Architecture


class Tokenizer(Vocabulary):
    """How large the vocabulary is (not trained where the generator has `init_from`)."""


def tokenizer(
    params: Tokenizer, architecture: Architecture, documents: Path, chunks: Path, checked: Path, tokenizer: Path
) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads."""
    from components.engines.checks.stage import require_passed
    from components.engines.language.bpe import SPECIAL, train_bpe
    from components.engines.nn.checkpoints import load_tokenizer

    require_passed(checked)
    if architecture.generator.init_from:
        load_tokenizer(architecture.generator.init_from).save_pretrained(tokenizer)
        return
    train_bpe(_texts(architecture, documents, chunks), params, SPECIAL, single="<s> $A").save_pretrained(tokenizer)


def _texts(architecture: Architecture, documents: Path, chunks: Path) -> Iterator[str]:
    """Prompts are made of what nobody asked in testing."""
    from components.rag.measures.questions import load_chunks, load_questions
    from components.rag.serving.passages import passages_of
    from components.rag.serving.prompts import NONE, prompt_of

    prompting, questions = architecture.prompting, load_questions(documents, "train")
    shown: list[str] = []
    for chunk in load_chunks(chunks):
        yield chunk.whole
        shown += passages_of(chunk, prompting.max_passage_chars)[:1]
    for place, asked in enumerate(questions):
        some = [shown[(place + step) % len(shown)] for step in range(prompting.passages)]
        yield f"{prompt_of(asked['question'], some, prompting)} [1] {asked['answer'] or NONE}"


if __name__ == "__main__":
    stage.main(tokenizer)
