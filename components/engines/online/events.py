"""Events in CloudEvents' envelope (specification 1.0), and what their data say, by type.

No field holds a name, an address or free text but `texts`, which are scrubbed before they come here (or left out), so that the
log can be kept. `subject` is a user's pseudonym.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components.engines.base.errors import UsageError

SOURCE = "urn:genworks:serving"
Id = Annotated[
    str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]  # CloudEvents' strings hold no control signs


class Data(BaseModel):
    """What every event says: which system it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    type: ClassVar[str]
    system: Id


class Requested(Data):
    """A request came in. `characters` are those of its inputs; `texts` the scrubbed inputs, None where none are kept."""

    type = "genworks.request"
    endpoint: Id
    inputs: int = Field(ge=0)
    characters: int = Field(ge=0)
    texts: list[str] | None = None


class Failed(Data):
    """A request that came in was not answered: `status` is HTTP's, 499 where whoever asked went away."""

    type = "genworks.failure"
    request: Id
    status: int
    milliseconds: float = Field(ge=0)


class Versioned(Data):
    """Of an answer, or of what became of it: which version of the system gave it."""

    version: int = Field(ge=1)


class Answered(Versioned):
    """One input was answered; the event's id is the answer's. `place` counts the inputs of a request from 0.

    `suggestion` is the pipeline's own id of what it suggests: the same while somebody types along with it.
    """

    type = "genworks.answer"
    request: Id
    place: int = Field(ge=0)
    milliseconds: float = Field(ge=0)
    characters: int = Field(ge=0)
    outcome: Literal["answered", "refused", "problem"]
    confidence: float | None = None
    suggestion: Id | None = None
    texts: list[str] | None = None


class Shown(Versioned):
    """The suggestion with the id `answer` was put before the user."""

    type = "genworks.suggestion.shown"
    answer: Id


class Accepted(Versioned):
    """The user took it, or its first `characters`."""

    type = "genworks.suggestion.accepted"
    answer: Id
    characters: int | None = Field(None, ge=0)


class Dismissed(Versioned):
    """The user typed on, or sent it away."""

    type = "genworks.suggestion.dismissed"
    answer: Id


class Rated(Versioned):
    """0 is the worst and 1 the best: thumbs are 0 and 1, n of 5 stars (n - 1) / 4."""

    type = "genworks.rated"
    answer: Id
    rating: float = Field(ge=0, le=1)


KINDS: dict[str, type[Data]] = {
    kind.type: kind for kind in (Requested, Failed, Answered, Shown, Accepted, Dismissed, Rated)
}


class Event(BaseModel):
    """CloudEvents' required attributes, the time, the subject, and data checked by type.

    `source` and `id` together name an event: the log keeps one of equal ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: str = Field(SOURCE, min_length=1, max_length=200, pattern=r"^[!#-;=?-\[\]_a-z~%]+$")  # RFC 3986's signs
    type: Id
    time: AwareDatetime
    subject: Id | None = None
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]

    @field_validator("time")
    @classmethod
    def _in_utc(cls, time: datetime) -> datetime:
        return time.astimezone(UTC)

    @model_validator(mode="after")
    def _data_of_its_type(self) -> Event:
        if self.type not in KINDS:
            raise ValueError(f"there are no events of type {self.type!r}, only {', '.join(KINDS)}")
        KINDS[self.type].model_validate(self.data)
        return self

    @property
    def key(self) -> str:
        """What is equal for events that are one and the same."""
        return key(self.id, self.source)

    def as_json(self) -> dict[str, Any]:
        """The event in CloudEvents' JSON format; an absent attribute is left out."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"data"}) | {"data": self.data}


def event(data: Data, *, id: str | None = None, subject: str | None = None, time: datetime | None = None) -> Event:
    """An event of now with an id of its own, unless they are given."""
    return Event(
        id=id or new_id("event"),
        type=data.type,
        time=time or datetime.now(UTC),
        subject=subject,
        data=data.model_dump(mode="json", exclude_none=True),
    )


def read_event(fields: Any) -> Event:
    """An event from CloudEvents' JSON format. Raises UsageError for what is none."""
    try:
        return Event.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"This is no event: {first['msg']}", where=where or "the envelope") from None


def key(id: str, source: str = SOURCE) -> str:
    return hashlib.sha256(f"{source}\n{id}".encode()).hexdigest()


def new_id(kind: str) -> str:
    """`req_…`, `ans_…`: random, so that it names nobody and cannot be guessed."""
    return f"{kind}_{uuid4().hex}"
