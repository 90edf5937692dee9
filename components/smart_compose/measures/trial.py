"""What the test mails say of a composer: figures, scores of single mails, suggestions to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.engines.language.records import Record
from components.engines.scoring.buckets import by_slice, length_bucket
from components.engines.scoring.evaluation import shown_samples
from components.smart_compose.measures.coverage import Tried, at_coverage, curve, exact_match, try_places
from components.smart_compose.measures.exposure import exposure_figures
from components.smart_compose.measures.likelihood import Likelihood
from components.smart_compose.measures.places import draw_places
from components.smart_compose.measures.settings import Trying
from components.smart_compose.measures.typist import type_mails
from components.smart_compose.serving.composer import Composer

WORDS = range(1, 16)  # ExactMatch@1 … ExactMatch@15


class Trial:
    """A composer on the test mails; `train` is for the frequencies of tokens."""

    def __init__(self, composer: Composer, train: Sequence[Record], test: Sequence[Record], trying: Trying) -> None:
        self.composer, self.test, self.trying = composer, test, trying
        self.likelihood = Likelihood(composer.network, composer.tokens, train, test)
        self.tried = try_places(composer, draw_places(test, trying.places_per_mail, trying.seed), WORDS[-1])

    def example_scores(self) -> list[dict[str, Any]]:
        """One row a mail: slices and metrics. `useful` is the share of its places with a suggestion that is right, less that
        of wrong ones."""
        by_mail: dict[str, list[Tried]] = {}
        for one in self.tried:
            by_mail.setdefault(one.place.mail, []).append(one)
        rows = []
        for mail, nlls in zip(self.test, self.likelihood.nlls, strict=True):
            slices = {"length": length_bucket(len(mail.texts["body"].split()), (20, 40, 80, 160))}
            slices |= {"answers": "an answer" if mail.texts["previous"] else "a new mail"}
            if "combination" in mail.meta:  # the sample world, whose truth is known
                slices["combination"] = mail.meta["combination"]
            values = [one.right - (one.suggested is not None and not one.right) for one in by_mail.get(mail.key, [])]
            metrics = {"log_likelihood": -float(np.mean(nlls)), "useful": float(np.mean(values)) if values else 0.0}
            rows.append({"id": mail.key, "slices": slices, "metrics": metrics})
        return rows

    def figures(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The composer's figures, each with its baseline beside it."""
        metrics = [row["metrics"] for row in rows]
        return {
            **self.likelihood.figures(),
            **self._suggestions(),
            **self._typing(),
            **self._remembered(),
            "log_likelihood": float(np.mean([one["log_likelihood"] for one in metrics])),
            "test_mails": len(rows),
            "slices": by_slice(
                [row["slices"] for row in rows],
                lambda members: {
                    name: float(np.mean([metrics[index][name] for index in members])) for name in metrics[0]
                },
            ),
        }

    def _suggestions(self) -> dict[str, Any]:
        """At the threshold served, and at all others."""
        asked = [one for one in self.tried if one.searched]
        shown = [one for one in asked if one.suggested is not None]
        exact = {words: exact_match(self.tried, words) for words in WORDS}
        sure = at_coverage(self.tried, 3, self.trying.coverage) or {"exact_match": 0.0}
        within = [[one for one in asked if one.place.where == where] for where in ("before a word", "within a word")]
        return {
            "threshold": self.composer.threshold,
            "coverage": len(shown) / max(len(asked), 1),
            "precision": sum(one.right for one in shown) / max(len(shown), 1),
            "words_suggested": float(
                np.mean([len(one.suggested.text.split()) for one in shown if one.suggested] or [0])
            ),
            "exact_match_3": exact[3] or 0.0,
            "exact_match_3_covered": sure["exact_match"],
            "exact_match": {str(words): found for words, found in exact.items() if found is not None},
            "precision_at_coverage_3_words": curve(self.tried, 3),
            "coverage_before_a_word": _share([one.suggested is not None for one in within[0]]),
            "coverage_within_a_word": _share([one.suggested is not None for one in within[1]]),
            "places": len(asked),
        }

    def _typing(self) -> dict[str, Any]:
        typist = self.trying.typist
        done = type_mails(
            self.test[: self.trying.typed_mails],
            lambda keystroke: (self.composer.answer(keystroke), typist.answer_ms),
            typist,
        )
        return {
            "keystrokes_saved": done.saved,
            "suggestions_taken": done.taken / max(done.shown, 1),
            "suggestions_wrong": done.wrong / max(done.shown, 1),
        }

    def _remembered(self) -> dict[str, Any]:
        """Of the sample world alone: in no other mails secrets were planted."""
        planted = any("combination" in one.meta for one in self.test)
        return exposure_figures(self.likelihood.of_bodies, self.trying.seed) if planted else {}

    def samples(self, count: int) -> list[dict[str, Any]]:
        """Suggestions that were wrong, the surest ones, and arbitrary places, with what their writers wrote."""

        def goodness(number: int) -> tuple[int, float]:
            one = self.tried[number]
            sure = one.suggested.confidence if one.suggested else 0.0
            return (1, sure) if one.right else (-1, -sure) if one.suggested else (0, 0.0)

        def sample(number: int) -> dict[str, Any]:
            one = self.tried[number]
            fields = {"typed": one.place.keystroke.typed[-80:], "written": one.place.rest}
            fields["suggested"] = one.suggested.text if one.suggested else f"({one.reason})"
            score = one.suggested.confidence if one.suggested else 0.0
            return {"id": f"{one.place.mail} at {len(one.place.keystroke.typed)}", "fields": fields, "score": score}

        order = sorted(range(len(self.tried)), key=goodness)
        return shown_samples(order, count, sample, is_bad=lambda number: goodness(number)[0] < 0)


def _share(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
