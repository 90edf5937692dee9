"""The inference pipeline of a room: what it is asked, what it answers, and what becomes of inputs that are no questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from components.engines.base.errors import BadRecord, UsageError

SETTINGS = "serving.json"  # beside the weights of a version: how it answers


class Pipeline:
    """Answers a list of inputs, one each, in order. `genworks predict`, the MLflow model, HTTP and the gate use the same class.

    An answer has the pipeline's `fields`, `refused` (why a sound input is not answered) and `problem` (what is wrong with the
    input); a field without a value is None. One bad input leaves its neighbours answered.
    """

    fields: ClassVar[tuple[str, ...]]
    example: ClassVar[list[dict[str, Any]]]  # golden inputs of the gate's loading check; the signature over HTTP
    options: ClassVar[dict[str, Any]] = {}  # with their defaults; over HTTP they are `params`

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From a version's folder (engines/tracking/register_stage.py), onto this process's device."""
        raise NotImplementedError

    def predict(self, inputs: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
        """One answer an input. Raises UsageError for options that do not exist or contradict each other."""
        chosen = self.choose(options)
        answers = [self._blank() for _ in inputs]
        read: dict[int, Any] = {}
        for place, one in enumerate(inputs):
            try:
                read[place] = self.read(one, chosen)
            except BadRecord as bad:
                answers[place]["problem"] = str(bad)
        made = self.answer(list(read.values()), chosen) if read else []
        for place, answer in zip(read, made, strict=True):
            answers[place] |= answer
        return answers

    def stream(self, one: dict[str, Any], **options: Any) -> Iterator[dict[str, Any]]:
        """The answer to one input as it is made: `{"piece": "…"}` again and again, then the whole answer, as `predict` has it.

        Several streams are advanced in turn. Raises UsageError as `predict` does.
        """
        chosen = self.choose(options)
        try:
            asked = self.read(one, chosen)
        except BadRecord as bad:
            yield self._blank() | {"problem": str(bad)}
            return
        for made in self.pieces(asked, chosen):
            yield {"piece": made} if isinstance(made, str) else self._blank() | made

    def _blank(self) -> dict[str, Any]:
        return {**dict.fromkeys(self.fields), "refused": None, "problem": None}

    def choose(self, options: dict[str, Any]) -> Any:
        """What the options of a call mean; by default their values over the defaults."""
        unknown = options.keys() - self.options.keys()
        if unknown:
            known = ", ".join(self.options) or "none: it has no options"
            raise UsageError(f"No option called {', '.join(sorted(unknown))}", do=f"use {known}")
        return {**self.options, **options}

    def read(self, one: dict[str, Any], chosen: Any) -> Any:
        """What an input asks. Raises BadRecord for one that asks nothing."""
        raise NotImplementedError

    def answer(self, asked: list[Any], chosen: Any) -> list[dict[str, Any]]:
        """The fields of each answer, or `refused` with the reason."""
        raise NotImplementedError

    def pieces(self, asked: Any, chosen: Any) -> Iterator[str | dict[str, Any]]:
        """Pieces of the answer's text, then its fields. By default the answer comes in one."""
        yield from self.answer([asked], chosen)
