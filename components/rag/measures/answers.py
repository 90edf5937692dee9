"""The test questions asked: what is found by each search, what is answered, what is cited, what is withheld."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_text
from components.engines.index.library import EVERYONE, Hit
from components.engines.index.words import words_of
from components.engines.language.records import Record
from components.engines.scoring.buckets import by_slice
from components.engines.scoring.evaluation import shown_samples
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.meteor import meteor
from components.engines.scoring.modules.rouge import rouge
from components.engines.scoring.ranking import ranking_figures
from components.rag.measures.questions import gold_chunks
from components.rag.serve import Asked, Assistant
from components.rag.serving.faithfulness import consistency, supported
from components.rag.serving.prompts import prompt_of
from components.rag.serving.reading import Put, Reading

MODES = ("words", "vectors", "graph", "hybrid")
DEEP = 10


class Trial:
    """`questions` go through the whole pipeline, `fixed` examples (RAFT's test split) to the reader alone."""

    def __init__(self, assistant: Assistant, questions: list[dict[str, Any]], fixed: list[Record]) -> None:
        self.assistant, self.questions, self.fixed = assistant, questions, fixed
        self.asked = [Asked(one["question"], tuple(one.get("groups", ())), None) for one in questions]
        every = assistant.library.view(
            {group for entry in assistant.library.entries.values() for group in entry.readers}
        )
        self.gold = [gold_chunks(every.chunks, one) if one["kind"] == "answerable" else set() for one in questions]
        self.num_chunks = len(every.chunks)
        self.hits = {mode: [self._found(one, mode) for one in self.asked] for mode in MODES}
        self.hits["reranked"] = [assistant.reranked(one, {**assistant.options, "top_k": DEEP}) for one in self.asked]
        inputs = [{"question": one.question, "groups": ",".join(one.groups)} for one in self.asked]
        self.answers = assistant.predict(inputs)

    def _found(self, one: Asked, mode: str) -> list[Hit]:
        return self.assistant.search(one, {"mode": mode, "top_k": DEEP})[1]

    def example_scores(self) -> list[dict[str, Any]]:
        """One row a question: slices and metrics."""
        rows = []
        for place, (one, answer) in enumerate(zip(self.questions, self.answers, strict=True)):
            right = not answer["found"] if one["answer"] is None else same(answer["answer"], one["answer"])
            slices = {"kind": one["kind"], "form": one.get("form") or "none"}
            rows.append(
                {"id": one["id"], "slices": slices, "metrics": {"right": float(right), "hit": self._hit(place)}}
            )
        return rows

    def _hit(self, place: int) -> float:
        first = self.hits["reranked"][place][:1]
        if not self.gold[place]:
            return 1.0  # there was nothing to find
        return float(bool(first) and first[0].chunk.id in self.gold[place])

    def figures(self, rows: list[dict[str, Any]], samples: int) -> dict[str, Any]:
        known = [place for place, one in enumerate(self.questions) if one["kind"] == "answerable"]
        findable = [place for place in known if self.gold[place]]
        figures: dict[str, Any] = {
            "test_questions": len(self.questions),
            "answers_read": len(findable) / max(len(known), 1),
            "hit_at_1_chance": float(np.mean([len(self.gold[p]) / self.num_chunks for p in findable]))
            if findable
            else 0.0,
        }
        for mode, hits in self.hits.items():
            suffix = "" if mode == "reranked" else f"_{mode}"
            ranked = [[hit.chunk.id in self.gold[p] for hit in hits[p]] for p in findable]
            figures |= {
                f"{name}{suffix}": value
                for name, value in ranking_figures(ranked, [len(self.gold[p]) for p in findable]).items()
            }
        figures |= self._answer_figures(known) | self._withheld() | self._reader_figures() | self._faithfulness(samples)
        slices = [row["slices"] for row in rows]
        figures["slices"] = by_slice(
            slices, lambda members: {"right": float(np.mean([rows[index]["metrics"]["right"] for index in members]))}
        )
        return figures

    def _answer_figures(self, known: list[int]) -> dict[str, Any]:
        said = [self.answers[p]["answer"] if self.answers[p]["found"] else "" for p in known]
        true = [self.questions[p]["answer"] for p in known]
        cited = [
            any(citation["chunk"] in self.gold[p] for citation in self.answers[p]["citations"])
            for p in known
            if self.answers[p]["found"] and self.gold[p]
        ]
        pairs = list(zip(said, true, strict=True))
        best = [
            next((one.text for one in self.assistant.passages(self.asked[p], self.assistant.options)), "")
            for p in known
        ]
        return {
            "exact": float(np.mean([same(one, other) for one, other in pairs])),
            "answer_f1": float(np.mean([word_f1(one, other) for one, other in pairs])),
            "answer_f1_passage": float(np.mean([word_f1(one, other) for one, other in zip(best, true, strict=True)])),
            "rouge_l": compute(rouge, predictions=said, references=[[one] for one in true])["rougeL"],
            "meteor": compute(meteor, predictions=said, references=[[one] for one in true])["score"],
            "citations_right": float(np.mean(cited)) if cited else 0.0,
        }

    def _withheld(self) -> dict[str, Any]:
        """What must not be told: no answer, no chunk, no name of a document that the asker may not read."""
        secret = [p for p, one in enumerate(self.questions) if one["kind"] != "answerable"]
        entries = self.assistant.library.entries
        leaks = 0
        for place, one in enumerate(self.asked):
            allowed = {EVERYONE, *one.groups}
            shown = {hit.entry.id for hits in self.hits.values() for hit in hits[place]}
            shown |= {citation["document"] for citation in self.answers[place]["citations"] or ()}
            leaks += sum(not allowed & set(entries[name].readers) for name in shown)
        return {
            "abstention": float(np.mean([not self.answers[p]["found"] for p in secret])) if secret else 1.0,
            "leaks": leaks,
        }

    def _reader_figures(self) -> dict[str, Any]:
        """Reading alone: the passage and distractors given, no passage that answers, and no passages at all."""
        told = [one for one in self.fixed if one.meta["value"] is not None]
        silent = [one for one in self.fixed if one.meta["value"] is None]
        by_id = {one["id"]: one["question"] for one in self.questions}
        known = [one for one in told if one.meta["question"] in by_id]
        closed = [prompt_of(by_id[one.meta["question"]], [], self.assistant.prompting) for one in known]
        said = self._say(closed)
        guessed = [one.meta["value"].lower() in text.lower() for text, one in zip(said, known, strict=True)]
        return {
            "reader_exact": self._share(told, lambda said, one: same(said, one.meta["value"])),
            "reader_abstention": self._share(silent, lambda said, one: said is None),
            "reader_exact_closed_book": float(np.mean(guessed)) if guessed else 0.0,
        }

    def _say(self, prompts: list[str]) -> list[str]:
        if not prompts:
            return []
        reader = self.assistant.reader
        made = generate_text(reader.network, reader.tokenizer, prompts, reader.decoding, scored=False)
        return [one.text for one in made]

    def _share(self, examples: list[Record], right: Any) -> float:
        verdicts = [bool(right(read.answer, one)) for read, one in zip(self._read(examples), examples, strict=True)]
        return float(np.mean(verdicts)) if verdicts else 1.0

    def _read(self, examples: list[Record], decoding: Decoding | None = None, seed: int = 0) -> list[Reading]:
        put = [Put(one.meta["asked"], one.meta["shown"]) for one in examples]
        return self.assistant.reader.read(put, decoding, seed)

    def _faithfulness(self, samples: int) -> dict[str, Any]:
        """True claims must pass the check and claims with another's answer must not; samples of the reader should agree."""
        told = [one for one in self.fixed if one.meta["value"] is not None]
        if not told:
            return {}
        by_id = {one["id"]: one["question"] for one in self.questions}
        told = [one for one in told if one.meta["question"] in by_id]
        passed, flagged = [], []
        for place, one in enumerate(told):
            source, question = one.texts["relevant"].split("\n")[0], by_id[one.meta["question"]]
            passed.append(supported(question, one.meta["value"], source))
            others = (other.meta["value"] for other in told[place + 1 :] + told[:place])
            wrong = next((value for value in others if not set(words_of(value)) <= set(words_of(source))), None)
            if wrong is not None:
                flagged.append(not supported(question, wrong, source))
        some = told[:20]
        most = self.assistant.reader.decoding.max_new_tokens
        drawn = Decoding(strategy="sample", top_p=0.9, max_new_tokens=most)
        said = [[read.answer for read in self._read(some, drawn, seed)] for seed in range(samples)]
        return {
            "claims_passed": float(np.mean(passed)),
            "claims_flagged": float(np.mean(flagged)) if flagged else 1.0,
            "consistency": float(np.mean([consistency([run[place] for run in said]) for place in range(len(some))])),
            "supported": float(np.mean([bool(one["supported"]) for one in self.answers if one["found"]] or [False])),
        }

    def samples(self, rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        """Wrong, right and arbitrary answers, with what they cite."""
        scores = [row["metrics"]["right"] for row in rows]

        def sample(index: int) -> dict[str, Any]:
            one, answer = self.questions[index], self.answers[index]
            cited = "; ".join(f"{c['name']} page {c['page']}: {c['text']}" for c in answer["citations"] or ())
            fields = {
                "question": one["question"],
                "answer": str(answer["answer"] or answer["refused"]),
                "expected": one["answer"] or f"none ({one['kind']})",
                "cited": cited or "nothing",
            }
            return {"id": one["id"], "fields": fields, "score": scores[index]}

        order = sorted(range(len(rows)), key=scores.__getitem__)
        return shown_samples(order, count, sample, lambda number: scores[number] < 1)


def same(said: str | None, true: str) -> bool:
    """Equal as words: case, punctuation and spaces aside (SQuAD's exact match, but articles count)."""
    return words_of(said or "") == words_of(true)


def word_f1(said: str, true: str) -> float:
    """SQuAD's F1 of the words two answers share."""
    have, want = words_of(said), words_of(true)
    shared = sum(min(have.count(word), want.count(word)) for word in set(have))
    return 2 * shared / (len(have) + len(want)) if shared else 0.0
