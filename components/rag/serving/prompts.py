"""How a question is put to the reader, and how its answer is read: `[2] 34 months` cites passage 2, `none` abstains."""

from __future__ import annotations

import re
from collections.abc import Sequence

from components.engines.index.words import SMALL, words_of
from components.rag.architecture import Prompting

NONE = "none"
MARK = " *"
_CITED = re.compile(r"\[(\d+)\]")
_WORD = re.compile(r"\w+")
_SHOTS = (
    (
        ("The Linden crane lifts 40 tons.", "The Linden barge is blue."),
        "How much does the Linden crane lift?",
        1,
        "40 tons",
    ),
    (("The Rowan ferry leaves at noon.",), "Who steers the Rowan ferry?", 0, ""),
    (("name: Rowan ferry; captain: Ada Lund",), "Who is the captain of the Rowan ferry?", 1, "Ada Lund"),
)


def prompt_of(question: str, passages: Sequence[str], prompting: Prompting, user: str | None = None) -> str:
    """Numbered passages and the question, below the role, examples and what is known about the user, as `prompting` asks."""
    parts = [prompting.role] if prompting.role else []
    for texts, asked, cited, answer in _SHOTS[: prompting.few_shot]:
        said = target_of(answer or None, cited, texts[cited - 1] if cited else "", prompting)
        parts.append(f"{_put(asked, texts, prompting)} {said}")
    if prompting.user_context and user:
        parts.append(f"About the user: {user}")
    return "\n".join([*parts, _put(question, passages, prompting)])


def _put(question: str, passages: Sequence[str], prompting: Prompting) -> str:
    if prompting.matches:
        question, passages = _marked(question, passages)
    shown = "\n".join(f"[{number}] {text}" for number, text in enumerate(passages, 1))
    how = "Think step by step. Answer:" if prompting.chain_of_thought else "Answer:"
    return f"{shown}\nQuestion: {question}\n{how}"


def _marked(question: str, passages: Sequence[str]) -> tuple[str, list[str]]:
    """Words that the question and a passage share, with a mark behind each: a reader's feature of exact matches (Chen et al.
    2017, arXiv:1704.00051, § 3.2). To see that a name stands nowhere a small network would have to compare each word with all."""
    asked = set(words_of(question)) - SMALL
    shared = asked & {word for passage in passages for word in words_of(passage)}

    def mark(text: str) -> str:
        return _WORD.sub(lambda found: found[0] + MARK * (found[0].lower() in shared), text)

    return mark(question), [mark(passage) for passage in passages]


def target_of(answer: str | None, cited: int, evidence: str, prompting: Prompting) -> str:
    """What the reader is to say. With a chain of thought it quotes the passage before it answers (RAFT, arXiv:2403.10131)."""
    if answer is None:
        return NONE
    return f"[{cited}] {evidence} So: {answer}" if prompting.chain_of_thought else f"[{cited}] {answer}"


def read_answer(text: str, passages: int, prompting: Prompting) -> tuple[str | None, list[int]]:
    """(answer or None for an abstention, cited passages counted from 1). An answer that cites nothing there is none."""
    cited = [int(number) for number in _CITED.findall(text) if 1 <= int(number) <= passages]
    said = text.rpartition("So:")[2] if prompting.chain_of_thought else text
    said = _CITED.sub(" ", said.replace(MARK, "") if prompting.matches else said)
    said = " ".join(said.split())
    if not cited or not said or said.lower() == NONE:
        return None, []
    return said, list(dict.fromkeys(cited))


def read_so_far(text: str, passages: int, prompting: Prompting) -> str:
    """The beginning of the answer that a text which is still being written is sure to have; empty before it cites a passage."""
    head, bracket, rest = text.rpartition("[")
    sure = head if bracket and "]" not in rest else text
    if prompting.chain_of_thought and "So:" not in sure:
        return ""
    answer, _ = read_answer(sure, passages, prompting)
    return "" if answer is None or NONE.startswith(answer.lower()) else answer
