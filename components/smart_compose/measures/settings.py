"""The settings of what is measured: they stand apart so that params can be checked without loading any network."""

from __future__ import annotations

from pydantic import Field

from components.engines.base.params import Fraction, Params, Positive


class Typist(Params):
    """A key every 1 / `chars_per_second`; a suggestion is read in `reading_ms`, and taken with one key if it is right.

    `answer_ms` is how long answers take to come, for figures that are to depend on nothing but the model.
    """

    chars_per_second: float = Field(5.0, gt=0)
    reading_ms: float = Field(100.0, ge=0)
    answer_ms: float = Field(30.0, ge=0)


class Trying(Params):
    """How many places of each test mail are tried; how many of the mails are typed, and how; at which coverage figures are
    read."""

    places_per_mail: Positive = 2
    coverage: Fraction = 0.5
    typed_mails: Positive = 20
    typist: Typist = Typist()
    seed: int = 0
