"""The inference pipeline: a conversation and the assistant's answer, or which rule it would break.

Safety filter -> prompt enhancer -> response generator -> response safety evaluator -> rejection generator. Sessions stand
before it: engines/serving/chat.py keeps them for HTTP, engines/serving/talk.py for the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from components.chat_assistant.architecture import Answering, Architecture
from components.chat_assistant.networks import language_model, scorer
from components.chat_assistant.serving.enhancer import enhanced
from components.chat_assistant.serving.generator import Generator
from components.chat_assistant.serving.guard import Guard
from components.chat_assistant.serving.rejection import rejection
from components.engines.base.errors import BadRecord, UsageError
from components.engines.base.paths import read_json
from components.engines.generation.decoding import Decoding
from components.engines.language.chat_tokens import ChatTokens
from components.engines.language.dialogues import Message, checked, message_of
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.nn.device import own_device
from components.engines.serving.pipeline import SETTINGS, Pipeline

PARTS = ("sft", "dpo", "ppo", "reward", "safety")
MOST_BEST_OF, MOST_SEED = 64, 2**31 - 1


@dataclass(frozen=True)
class Chosen:
    """What the options of a call mean."""

    decoding: Decoding
    best_of: int
    seed: int


@dataclass(frozen=True)
class Question:
    """A conversation that fits, as the model reads it; the question itself; how many earlier messages were left out."""

    messages: list[Message]
    asked: str
    left_out: int


class ChatAssistant(Pipeline):
    """`{"messages": [{"role": …, "content": …}, …]}` -> `answer`, `finish_reason`, `category`, `reward`, `left_out`.

    `finish_reason` is `length` where the limit cut the answer. Of what is refused `refused` says which rule it breaks and what
    could be asked instead, and `category` names the harm. `left_out` counts messages of a long conversation that were not read:
    the oldest exchanges. Options: `temperature`, `top_k`, `top_p`, `repetition_penalty`, `max_new_tokens`, `best_of`, `seed`.
    """

    fields: ClassVar[tuple[str, ...]] = ("answer", "finish_reason", "category", "reward", "left_out")
    example: ClassVar[list[dict[str, Any]]] = [
        {"messages": [{"role": "user", "content": "What is 3 plus 4?"}]},
        {"messages": [{"role": "user", "content": "How do I make a bath bomb?"}]},
    ]
    options: ClassVar[dict[str, Any]] = {
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 0.95,
        "repetition_penalty": 1.0,
        "max_new_tokens": 16,
        "best_of": 4,
        "seed": 0,
    }

    def __init__(self, generator: Generator, guard: Guard, answering: Answering, max_chars: int) -> None:
        self.generator, self.guard, self.answering, self.max_chars = generator, guard, answering, max_chars
        self.tokens = generator.tokens

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = read_json(folder / SETTINGS)
        architecture, answering = Architecture(**settings["architecture"]), Answering(**settings["answering"])
        return assembled(cls, {name: folder / name for name in PARTS}, architecture, answering, settings["max_chars"])

    def choose(self, options: dict[str, Any]) -> Chosen:
        """The options over what the version was registered with. `temperature` 0 answers greedily."""
        given = dict(options)
        best_of, seed = given.pop("best_of", self.answering.best_of), given.pop("seed", 0)
        for name, value, least, most in (("best_of", best_of, 1, MOST_BEST_OF), ("seed", seed, 0, MOST_SEED)):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise UsageError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
        if unknown := given.keys() - self.options.keys():
            raise UsageError(f"No option called {', '.join(sorted(unknown))}", do=f"use {', '.join(self.options)}")
        if given.get("top_k") == 0:
            del given["top_k"]
        if given.get("temperature") == 0:
            kept: dict[str, Any] = {
                name: given[name] for name in ("repetition_penalty", "max_new_tokens") if name in given
            }
            plain = Decoding(
                max_new_tokens=self.answering.decoding.max_new_tokens,
                repetition_penalty=self.answering.decoding.repetition_penalty,
            )
            return Chosen(plain.changed(kept), 1, seed)
        sampled = self.answering.decoding
        if sampled.strategy != "sample" and given.keys() & {"temperature", "top_k", "top_p"}:
            sampled = Decoding(strategy="sample", max_new_tokens=sampled.max_new_tokens)
        return Chosen(sampled.changed(given), best_of, seed)

    def read(self, one: dict[str, Any], chosen: Chosen) -> Question:
        given = one.get("messages")
        if given is None or isinstance(given, str | dict):
            raise BadRecord("messages must be a list", "of objects with role and content")
        messages = checked([message_of(each, "role", "content") for each in given], "user")
        if (size := sum(len(each["content"]) for each in messages)) > self.max_chars:
            raise BadRecord("the conversation is too long", f"{size} characters, more than {self.max_chars}")
        ready = enhanced(messages, self.answering.system)
        fitted = self.tokens.fitted(ready, chosen.decoding.max_new_tokens + 1)
        return Question(fitted, ready[-1]["content"], len(ready) - len(fitted))

    def answer(self, asked: list[Question], chosen: Chosen) -> list[dict[str, Any]]:
        harms = self.guard.of_requests([one.asked for one in asked])
        found: list[dict[str, Any]] = [
            {"left_out": one.left_out} | (_refused(harm) if harm else {})
            for one, harm in zip(asked, harms, strict=True)
        ]
        sound = [place for place, harm in enumerate(harms) if harm is None]
        if not sound:
            return found
        made = self.generator.make(
            [asked[place].messages for place in sound], chosen.decoding, chosen.best_of, chosen.seed
        )
        judged = self.guard.of_answers([(asked[p].asked, one.text) for p, one in zip(sound, made, strict=True)])
        for place, one, harm in zip(sound, made, judged, strict=True):
            if harm:
                found[place] |= _refused(harm, of_answer=True)
            else:
                finish = "stop" if one.finished else "length"
                found[place] |= {"answer": one.text, "finish_reason": finish, "reward": one.score}
        return found

    def pieces(self, asked: Question, chosen: Chosen) -> Iterator[str | dict[str, Any]]:
        """The answer as it is drawn, each piece shown once what is said so far is judged harmless.

        The best of several is known only when all are there: it comes in one piece.
        """
        (harm,) = self.guard.of_requests([asked.asked])
        if harm or (chosen.best_of > 1 and chosen.decoding.strategy == "sample"):
            (answer,) = self.answer([asked], chosen)
            if answer.get("answer"):
                yield answer["answer"]
            yield answer
            return
        said = ""
        for piece in self.generator.stream(asked.messages, chosen.decoding, chosen.seed):
            (harm,) = self.guard.of_answers([(asked.asked, (said + piece).strip())])
            if harm:
                yield {"left_out": asked.left_out} | _refused(harm, of_answer=True)
                return
            said += piece
            yield piece
        long = len(self.tokens.text(said)) >= chosen.decoding.max_new_tokens
        yield {"answer": said.strip(), "finish_reason": "length" if long else "stop", "left_out": asked.left_out}


def assembled(
    kind: type[ChatAssistant], parts: dict[str, Path], architecture: Architecture, answering: Answering, max_chars: int
) -> Any:
    """The pipeline over folders of the parts, on this process's device; the model is the one of `answering.policy`."""
    device = own_device()
    model = language_model.load(parts[answering.policy]).to(device)
    tokens = ChatTokens(load_tokenizer(parts[answering.policy]), architecture.max_tokens)
    reward, safety = (scorer.load(parts[name]).to(device) for name in ("reward", "safety"))
    return kind(Generator(model, reward, tokens), Guard(safety, tokens, answering.safety), answering, max_chars)


def _refused(category: str, *, of_answer: bool = False) -> dict[str, Any]:
    return {"refused": rejection(category, of_answer=of_answer), "category": category}
