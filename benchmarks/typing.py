"""A keystroke of smart_compose beside transformers' own beam search on the same model, one core, beam 4.

    python -m benchmarks typing

Mails of the sample grammar are typed letter by letter. At every keystroke take turns: `generate` of transformers (four beams,
made to spell what is typed of the word), our search from nothing, and the whole pipeline with and without a session. The
first two must find the same words with the same probability. Times are those of the thread on its core (`thread_time`), so
that waiting for a core that others use does not count; wall times stand in the rows that have no rival.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.turnstile import torch_threads
from components.engines.generation.phrases import PhraseSearch, search, split_typed
from components.engines.generation.prefix import Prefix
from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe
from components.engines.language.causal import CausalLM
from components.engines.language.records import Record
from components.smart_compose.architecture import Architecture, Composing
from components.smart_compose.measures.places import at, cursors
from components.smart_compose.networks import language_model
from components.smart_compose.serving.composer import Composer
from components.smart_compose.serving.trigger import Keystroke, moment
from components.smart_compose.tasks.mails import MARKS, MailTokens, MailWindows
from components.smart_compose.world import grammar, phrases

STEPS, MAILS, TYPED = 250, 2_000, 3  # of training, in it, and typed per repeat
SEARCH = PhraseSearch(num_beams=4, max_new_tokens=16, max_words=99)


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Rows for the table; `repeats` times TYPED mails are typed."""
    with torch_threads(1):
        times, wall = type_all(taught(), drawn(repeats * TYPED, seed=7))
    shares = (("p50", 50), ("p90", 90), ("p99", 99))
    name = "beam 4 from nothing ÷ transformers' generate, {}, ms"
    rows: list[dict[str, Any]] = [
        {"name": name.format(words), **_ratio(times["search"], times["generate"], share), "bar": 0.8}
        for words, share in shares
    ]
    with_session, without = (1e3 * float(np.mean(times[kind])) for kind in ("session", "fresh"))
    name = "a keystroke without ÷ with a session, mean, ms"
    rows.append({"name": name, "ours": with_session, "theirs": without, "ratio": without / with_session, "bar": 3.0})
    return rows + [
        {"name": f"a keystroke with a session, {words}, wall ms", "ours": 1e3 * float(np.percentile(wall, share))}
        for words, share in shares
    ]


def _ratio(ours: list[float], theirs: list[float], share: float) -> dict[str, float]:
    mine, other = (1e3 * float(np.percentile(values, share)) for values in (ours, theirs))
    return {"ours": mine, "theirs": other, "ratio": mine / other}


def type_all(composer: Composer, records: list[Record]) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds on the core by rival and keystroke, and wall seconds of the pipeline with a session."""
    times: dict[str, list[float]] = {"generate": [], "search": [], "fresh": [], "session": []}
    wall: list[float] = []
    for one in records:
        for cursor in cursors(one.texts["body"]):
            asked = at(one, cursor).keystroke
            began = time.perf_counter()
            kept = _timed(times["session"], lambda asked=asked, one=one: composer.answer(_of(asked, one.key)))
            wall.append(time.perf_counter() - began)
            fresh = _timed(times["fresh"], lambda asked=asked: composer.answer(asked))
            assert (kept.suggestion is None) <= (fresh.suggestion is None), asked  # one that is typed along may be kept
            now = moment(asked, composer.composing, composer.region)
            stable, held = split_typed(f" {now.typed}")
            if now.reason or "\n" in held:
                continue
            ids = composer.tokens.typed(
                composer.tokens.context(asked.subject, asked.previous), composer.tokens.text(stable)
            )
            found = _timed(
                times["search"],
                lambda ids=ids, held=held: search(Prefix(composer.network), ids, held, composer.vocabulary, SEARCH),
            )
            tokens, score = _timed(times["generate"], lambda ids=ids, held=held: generate(composer, ids, held))
            assert tokens == found.hypothesis or abs(score - found.score) < 1e-4, (asked, tokens, found)
    return times, wall


def _of(asked: Keystroke, session: str) -> Keystroke:
    return Keystroke(asked.typed, asked.subject, asked.previous, session=session)


def _timed(kept: list[float], call: Callable[[], Any]) -> Any:
    started = time.thread_time()
    found = call()
    kept.append(time.thread_time() - started)
    return found


def generate(composer: Composer, ids: list[int], held: str) -> tuple[list[int], float]:
    """The same search by transformers: tokens behind `ids`, and their sum of log-probabilities."""
    import transformers

    words = composer.vocabulary

    class Spelt(transformers.LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            rests = []
            for row in input_ids[:, len(ids) :].tolist():
                rest = held.encode()
                for token in row:
                    rest = rest[len(words.bytes.get(token, b"")) :]
                rests.append(words.agreeing(rest).allowed)
            return scores.masked_fill(~torch.stack(rests), float("-inf"))

    given = torch.tensor([ids])
    with torch.inference_mode():
        made = composer.network.generate(
            given,
            attention_mask=torch.ones_like(given),
            num_beams=SEARCH.num_beams,
            max_new_tokens=SEARCH.max_new_tokens,
            do_sample=False,
            length_penalty=0.0,
            logits_processor=transformers.LogitsProcessorList([Spelt()]),
            eos_token_id=_ends(composer),
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
    tokens = [token for token in made.sequences[0, len(ids) :].tolist() if token]
    return tokens, made.sequences_scores[0].item()


def _ends(composer: Composer) -> list[int]:
    return composer.vocabulary.free.ends.nonzero().flatten().tolist()


def drawn(count: int, seed: int) -> list[Record]:
    """Scrubbed mails of the sample grammar, every second an answer."""
    rng, found = random.Random(seed), []
    for number in range(count):
        topic, detail = rng.choice(grammar.subjects())
        relation = rng.choices([*phrases.RELATIONS], [*phrases.RELATIONS.values()])[0]
        styles = rng.choices([*phrases.STYLES], [*phrases.STYLES.values()], k=2)
        before = grammar.draw(rng, topic, detail, styles[0], relation) if number % 2 else None
        made = grammar.draw(rng, topic, detail, styles[1], relation, before)
        texts = {"subject": made.subject, "previous": made.previous, "body": made.body}
        found.append(Record(f"{seed}-{number}", texts, {}))
    return found


def taught() -> Composer:
    """The default architecture after a short training: what a search does depends on how sure a model is."""
    records, shape = drawn(MAILS, seed=0), Architecture()
    words = train_bpe(
        (text for one in records for text in one.texts.values()),
        Vocabulary(vocab_size=700), SPECIAL, single="<s> $A", more=MARKS, strip=False, spaced=False,
    )  # fmt: skip
    torch.manual_seed(0)
    network = language_model.build(shape, words)
    windows = MailWindows(records, MailTokens(words, shape))
    task = CausalLM(network, windows, windows, pad_id=words.pad_token_id)
    optimizer, rng = torch.optim.AdamW(network.parameters(), lr=3e-3), np.random.default_rng(0)
    for _ in range(STEPS):
        loss, _sums = task.loss(task.batch(rng.integers(0, len(windows), 32), 0))
        (loss / 1000).backward()
        optimizer.step()
        optimizer.zero_grad()
    return Composer(network.eval(), words, shape, Composing(), threshold=0.5, region="US")
