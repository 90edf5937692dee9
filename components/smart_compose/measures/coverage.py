"""How often something is suggested, and how often that is right: at one threshold, and at all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.engines.generation.phrases import Phrase
from components.smart_compose.measures.places import Place, is_right
from components.smart_compose.serving.composer import Composer, Session, Suggestion
from components.smart_compose.serving.trigger import moment

FLOOR = 0.02  # phrases less probable than that are not looked for when all thresholds are measured


def best_confidences(composer: Composer, places: Sequence[Place]) -> list[float]:
    """At each place where the trigger lets a search begin, the highest threshold at which something would be suggested; 0: none
    of at least the composer's threshold."""
    found, short = [], composer.composing.search.model_copy(update={"max_words": 2})  # longer ones are no surer
    for place in places:
        now = moment(place.keystroke, composer.composing, composer.region)
        if now.reason is None:
            session = Session(composer.network, composer.composing)
            phrases = composer.look(now, session, composer.threshold, short).phrases
            shown = [one for one in phrases.values() if not composer.stopped(place.keystroke.typed, one.text)]
            found.append(max((one.probability for one in shown), default=0.0))
    return found


def threshold_for(confidences: Sequence[float], coverage: float, lowest: float) -> float:
    """The highest threshold that as large a share of the confidences reaches; at least `lowest`."""
    return max(float(np.quantile(confidences, 1 - coverage, method="lower")), lowest)


@dataclass(frozen=True)
class Tried:
    """What became of one place: whether the trigger let a search begin, the phrases it found, what is suggested at the composer's
    threshold, or why nothing is."""

    place: Place
    searched: bool
    phrases: dict[int, Phrase]
    suggested: Suggestion | None
    reason: str | None

    @property
    def right(self) -> bool:
        return self.suggested is not None and is_right(self.place.rest, self.suggested.text)

    def exact(self, words: int) -> bool:
        """Whether the phrase of so many words is the next so many."""
        return words in self.phrases and is_right(self.place.rest, self.phrases[words].text)

    def probability(self, words: int) -> float:
        return self.phrases[words].probability if words in self.phrases else 0.0


def try_places(composer: Composer, places: Sequence[Place], max_words: int) -> list[Tried]:
    """Ask at every place as if it were the first keystroke there, for phrases of up to `max_words`."""
    found, longer = [], composer.composing.search.model_copy(update={"max_words": max_words})
    for place in places:
        now = moment(place.keystroke, composer.composing, composer.region)
        if now.reason:
            found.append(Tried(place, False, {}, None, now.reason))
            continue
        met = composer.look(now, Session(composer.network, composer.composing), FLOOR, longer)
        chosen = composer.choose(now, met)
        suggested = chosen if isinstance(chosen, Suggestion) else None
        found.append(Tried(place, True, met.phrases, suggested, None if suggested else str(chosen)))
    return found


def exact_match(tried: Sequence[Tried], words: int) -> float | None:
    """ExactMatch@N: the share of places with so many words left on the line where the likeliest phrase of N words is right."""
    asked = [one for one in tried if one.place.words_left >= words]
    return sum(one.exact(words) for one in asked) / len(asked) if asked else None


def at_coverage(tried: Sequence[Tried], words: int, coverage: float) -> dict[str, float] | None:
    """ExactMatch@N of the surest phrases of N words: of as many as make that share of the places that have N words left."""
    asked = sorted((one for one in tried if one.place.words_left >= words), key=lambda one: -one.probability(words))
    shown = asked[: -int(-coverage * len(asked) // 1)]
    if not shown:
        return None
    right = sum(one.exact(words) for one in shown) / len(shown)
    return {"exact_match": right, "threshold": shown[-1].probability(words)}


def curve(tried: Sequence[Tried], words: int) -> dict[str, Any]:
    """Coverage against precision, by tenths: what a threshold buys."""
    points = {f"{tenth / 10:.1f}": at_coverage(tried, words, tenth / 10) for tenth in range(1, 11)}
    return {name: point["exact_match"] for name, point in points.items() if point}
