"""What may be sent to the server, and what it sends back in OpenAI's shapes."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from components.engines.base.errors import UsageError
from components.engines.serving.process import Facts
from components.engines.serving.service import Asked, Reply, confidence_of

MOST_INPUTS = 256


class Body(BaseModel):
    """`user` is whatever the caller calls one: it is recorded under a pseudonym."""

    model_config = ConfigDict(extra="forbid")

    user: str | None = Field(None, min_length=1, max_length=200)


class Prediction(Body):
    """Inputs and options as the system's pipeline takes them; bytes as Base64. The answer to one input can be streamed."""

    inputs: list[dict[str, Any]] = Field(min_length=1, max_length=MOST_INPUTS)
    options: dict[str, Any] = {}
    stream: bool = False

    @field_validator("inputs", "options")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        return sound(value)

    @model_validator(mode="after")
    def _one_stream(self) -> Prediction:
        if self.stream and len(self.inputs) > 1:
            raise ValueError("one input a stream")
        return self


class Completion(Body):
    """OpenAI's legacy completion. `context` fills the pipeline's other fields; further keys are options of the pipeline."""

    model_config = ConfigDict(extra="allow")

    model: str
    prompt: str
    context: dict[str, Any] = {}
    stream: Literal[False] = False  # a suggestion is short

    @field_validator("context")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        return sound(value)

    @model_validator(mode="after")
    def _options_are_json(self) -> Completion:
        sound(self.model_extra or {})
        return self

    def asked(self, facts: Facts) -> Asked:
        fields = facts.fields
        first = next(iter(fields))
        if fields[first] not in ("string", "any") or first in self.context:
            raise UsageError(f"{self.model} completes no text: its first field is {first} ({fields[first]})")
        options = options_of(self.model_extra or {}, facts)
        return Asked(self.model, "completions", [{first: self.prompt, **self.context}], options, self.user)


class Feedback(Body):
    """What became of an answer. `characters`: how many of an accepted suggestion; `rating`: 0 to 1.

    `event` names this feedback, so that sending it twice records it once; without it, equal feedback is the same.
    """

    id: str = Field(min_length=1, max_length=200)
    what: Literal["shown", "accepted", "dismissed", "rated"]
    characters: int | None = None
    rating: float | None = None
    event: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[\w.:-]+$")

    @property
    def details(self) -> dict[str, Any]:
        given = {"characters": self.characters, "rating": self.rating}
        return {name: value for name, value in given.items() if value is not None}


def options_of(more: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """A body's further keys as the pipeline's options, OpenAI's names for the length among them."""
    length = ("max_tokens", "max_completion_tokens") if "max_new_tokens" in facts.options else ()
    return {"max_new_tokens" if name in length else name: value for name, value in more.items()}


def sound(value: Any) -> Any:
    """The value, if it is JSON of UTF-8: Python's reader lets NaN and halves of surrogate pairs pass."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no text") from None
    return value


def fingerprint(reply: Reply) -> str:
    """OpenAI's name for which weights and code answered."""
    return f"{reply.system}/{reply.facts.version}"


def predicted(reply: Reply) -> dict[str, Any]:
    return {
        "id": reply.id,
        "model": reply.system,
        "system_fingerprint": fingerprint(reply),
        "ids": reply.ids,
        "answers": reply.answers,
    }


def completed(reply: Reply) -> dict[str, Any]:
    """A completion; its id is what feedback refers to. No choice where the pipeline suggests nothing (`refused` says why).

    `details` are the other fields of the pipeline's answer.

    Raises UsageError for an input that is none.
    """
    (answer,) = reply.answers
    if answer.get("problem"):
        raise UsageError(f"{reply.system} cannot take this: {answer['problem']}")
    first = next(iter(reply.facts.gives))
    text, known = answer.get(first), {first, "confidence", "refused", "problem"}
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None, "confidence": confidence_of(answer)}
    return {
        "id": reply.ids[0],
        "object": "text_completion",
        "created": int(time.time()),
        "model": reply.system,
        "system_fingerprint": fingerprint(reply),
        "choices": [choice] if text and not answer.get("refused") else [],
        "refused": answer.get("refused"),
        "details": {name: value for name, value in answer.items() if name not in known},
    }
