"""From a keystroke to a suggestion: the trigger, the phrase search with what is kept of the keystrokes before, the filters."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from components.engines.base.paths import digest_value
from components.engines.generation.byte_vocabulary import ByteVocabulary
from components.engines.generation.phrases import Found, PhraseSearch, search, split_typed
from components.engines.generation.prefix import Prefix
from components.engines.text.pii import find_personal
from components.smart_compose.architecture import Architecture, Composing
from components.smart_compose.serving.bias import biased
from components.smart_compose.serving.debounce import Pace
from components.smart_compose.serving.finishing import finish
from components.smart_compose.serving.trigger import Keystroke, Moment, moment, scrubbed
from components.smart_compose.tasks.mails import MailTokens

MAX_SESSIONS = 256  # keys and values of so many windows are kept, those used last


@dataclass(frozen=True)
class Suggestion:
    """`text` goes behind the cursor. `id` stays the same while it is typed along; `at` is the keystroke that it was made for."""

    text: str
    confidence: float
    id: str
    at: Keystroke


@dataclass(frozen=True)
class Answer:
    suggestion: Suggestion | None
    reason: str | None  # why there is none
    wait_ms: float | None = None  # the debounce, where the client tells its pace


class Session:
    """What one window's keystrokes have in common."""

    def __init__(self, network: Any, composing: Composing) -> None:
        self.prefix, self.pace = Prefix(network), Pace(composing.debounce)
        self.shown: Suggestion | None = None
        self.context: tuple[str, str, list[int]] | None = None  # subject, previous, their tokens
        self.lock = threading.Lock()


class Composer:
    """`threshold` is how probable a phrase must be; measured by calibrate.py."""

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        architecture: Architecture,
        composing: Composing,
        *,
        threshold: float,
        region: str,
    ) -> None:
        self.network, self.composing, self.threshold, self.region = network.eval(), composing, threshold, region
        self.tokens = MailTokens(tokenizer, architecture)
        size = network.get_output_embeddings().weight.shape[0]
        self.vocabulary = ByteVocabulary(tokenizer, size, network.device)
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self.lock = threading.Lock()

    def answer(self, keystroke: Keystroke) -> Answer:
        """The suggestion for a keystroke, or why there is none."""
        session = self._session(keystroke.session)
        with session.lock:
            started = time.perf_counter()
            found = self._suggested(keystroke, session)
            session.shown = found if isinstance(found, Suggestion) else None
            if keystroke.elapsed_ms is None:
                wait_ms = None
            else:
                session.pace.pressed(keystroke.elapsed_ms)
                session.pace.answered(1000 * (time.perf_counter() - started))
                wait_ms = session.pace.wait_ms
        return Answer(found, None, wait_ms) if isinstance(found, Suggestion) else Answer(None, found, wait_ms)

    def _suggested(self, keystroke: Keystroke, session: Session) -> Suggestion | str:
        now = moment(keystroke, self.composing, self.region)
        if now.reason:
            return now.reason
        return typed_along(keystroke, session.shown) or self.choose(now, self.look(now, session, self.threshold))

    def look(self, now: Moment, session: Session, floor: float, params: PhraseSearch | None = None) -> Found:
        """The phrases that may follow, with keys and values of the session's earlier keystrokes."""
        stable, held = split_typed(f" {now.typed}")
        ids = self.tokens.typed(self._context(now.keystroke, session), self.tokens.text(stable))
        return search(session.prefix, ids, held, self.vocabulary, params or self.composing.search, floor)

    def choose(self, now: Moment, found: Found) -> Suggestion | str:
        """The longest phrase that is probable enough and passes the filters, or why none is."""
        reason = "not sure enough"
        for phrase in sorted(found.phrases.values(), key=lambda one: -one.words):
            if phrase.words > self.composing.search.max_words or phrase.probability < self.threshold:
                continue
            text = finish(now.keystroke.typed, phrase.text)
            stopped = self.stopped(now.keystroke.typed, text)
            if stopped is None:
                at = now.keystroke
                name = digest_value([at.subject, at.previous, at.typed, text])[:16]
                return Suggestion(text, phrase.probability, name, at)
            reason = stopped
        return reason

    def stopped(self, typed: str, text: str) -> str | None:
        """Why the filters behind the search stop a suggestion, or None."""
        if len(text) < self.composing.min_chars:
            return "too short to be worth it"
        if biased(typed, text):
            return "it would guess about people"
        spans = find_personal(typed + text, region=self.region)
        return "it would be personal data" if any(span.end > len(typed) for span in spans) else None

    def _context(self, keystroke: Keystroke, session: Session) -> list[int]:
        about = keystroke.subject, keystroke.previous
        if session.context is None or session.context[:2] != about:
            texts = (scrubbed(text, self.region) for text in about)
            session.context = (*about, self.tokens.context(*texts))
        return session.context[2]

    def _session(self, name: str | None) -> Session:
        if name is None:
            return Session(self.network, self.composing)
        with self.lock:
            session = self.sessions.pop(name, None) or Session(self.network, self.composing)
            self.sessions[name] = session
            while len(self.sessions) > MAX_SESSIONS:
                self.sessions.popitem(last=False)
            return session


def typed_along(keystroke: Keystroke, shown: Suggestion | None) -> Suggestion | None:
    """What is left of the suggestion that is shown, if all that was typed since is its beginning."""
    if shown is None or (keystroke.subject, keystroke.previous) != (shown.at.subject, shown.at.previous):
        return None
    whole = shown.at.typed + shown.text
    typed = keystroke.typed
    if not (whole.startswith(typed) and len(shown.at.typed) < len(typed) < len(whole)):
        return None
    left = whole[len(typed) :]
    return Suggestion(left, shown.confidence, shown.id, Keystroke(typed, keystroke.subject, keystroke.previous))
