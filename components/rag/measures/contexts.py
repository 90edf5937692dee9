"""What the reader is shown with a question in training and in tests: relevant passages among irrelevant ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from components.engines.base.funnel import Funnel
from components.engines.base.params import Fraction, Params, Positive
from components.engines.base.seeds import derive
from components.engines.documents.files import id_of
from components.engines.index.library import Library
from components.engines.language.records import Record
from components.rag.architecture import Architecture
from components.rag.measures.questions import tells
from components.rag.measures.renaming import Renaming, misnamed, names_of
from components.rag.serving.passages import Passage, Remembered, passages_of, ranked
from components.rag.serving.prompts import prompt_of, target_of

_BATCH = 128


class Drawing(Params):
    """What the reader is shown. `arm`: `raft` puts distractors around the relevant passage, and leaves that out in one of
    (1 - `golden_fraction`) cases, where the right answer is none; `oracle` shows the relevant passage alone, and nothing else.
    Where passages are read apart (architecture.prompting), what is learnt from shows one: the relevant passage or a distractor.
    Of the `draws` of a training question all but the first are `renamed`: see measures/renaming.py. With `fewer` a training
    question has any number of passages up to what a question is answered from: what is hard among four is learnt from two.
    Of the training examples a share of `far` has distractors from anywhere; those of the others are what a search finds. Where
    the relevant passage is left out, in a share of `near` cases there stands what a reader takes for the answer that knows what
    is asked for, but not of whom: that passage in another name, or what a search for that passage finds."""

    arm: Literal["raft", "oracle"] = "raft"
    draws: Positive = 32
    renamed: bool = True
    fewer: bool = True
    far: Fraction = 0.5
    near: Fraction = 0.5
    golden_fraction: Fraction = 0.8
    search: Positive = 8
    seed: int = 0


class Contexts:
    """Draws examples; `funnel` counts what became of the questions."""

    def __init__(self, library: Library, architecture: Architecture, tokenizer: Any, params: Drawing) -> None:
        self.library, self.prompting, self.params = library, architecture.prompting, params
        self.tokenizer, self.max_tokens = tokenizer, architecture.generator.max_tokens
        self.embed = Remembered(library.embed)
        self.funnel = Funnel()
        self.names: list[str] = []
        self.anywhere: list[str] = []  # passages that everybody may read

    def of(self, questions: Sequence[dict[str, Any]], split: str) -> Iterator[Record]:
        if split == "train":
            public = self.library.view([]).chunks
            passages = (text for chunk in public for text in passages_of(chunk, self.prompting.max_passage_chars))
            self.anywhere = list(dict.fromkeys(passages))
            texts = [*(chunk.text for chunk in public), *(asked["question"] for asked in questions)]
            self.names = names_of(texts) if self.params.renamed else []
        for start in range(0, len(questions), _BATCH):
            some = questions[start : start + _BATCH]
            vectors = self.library.embed([asked["question"] for asked in some])
            for asked, vector in zip(some, vectors, strict=True):
                yield from self._of(asked, split, vector)

    def _of(self, asked: dict[str, Any], split: str, vector: Any) -> Iterator[Record]:
        view = self.library.view(asked.get("groups", []))
        (hits,) = view.search([asked["question"]], self.params.search, vectors=vector[None])
        found = ranked(asked["question"], hits, view.words, self.embed, self.prompting.max_passage_chars, vector)
        golden, others = self._divided(asked, found)
        if asked["answer"] is not None and golden is None:
            self.funnel.reject("answer not read")
            return
        like_it = self._like(golden, asked, view) if golden and split == "train" else []
        for draw in range(self.params.draws if split == "train" else 1):
            rng = random.Random(derive(self.params.seed, "context", asked["id"], draw))
            near = self._near(golden, like_it, asked, rng) if golden and split == "train" else None
            record = self._record(asked, split, golden, others, near, rng, draw)
            if record is None:
                self.funnel.reject("too long")
            else:
                self.funnel.keep()
                yield record

    def _divided(self, asked: dict[str, Any], found: list[Passage]) -> tuple[str | None, list[str]]:
        """The passage that answers, as it was read, and those that do not, the likeliest first."""
        others = [one.text for one in found if asked["answer"] is None or not tells(one.text, asked)]
        if asked["answer"] is None:
            return None, list(dict.fromkeys(others))
        golden = next((one.text for one in found if tells(one.text, asked)), None)
        if golden is None and asked.get("document"):
            path = self.library.folder / "chunks" / f"{id_of(asked['document'])}.jsonl"
            golden = next(
                (text for text in _passages(path, self.prompting.max_passage_chars) if tells(text, asked)), None
            )
        return golden, list(dict.fromkeys(others))

    def _like(self, golden: str, asked: dict[str, Any], view: Any) -> list[str]:
        """Passages that say what the relevant one says, of something else."""
        vector = self.embed([golden])
        (hits,) = view.search([golden], self.params.search, vectors=vector)
        found = ranked(golden, hits, view.words, self.embed, self.prompting.max_passage_chars, vector[0])
        return [one.text for one in found if not tells(one.text, asked)][: self.prompting.passages]

    def _near(self, golden: str, like_it: list[str], asked: dict[str, Any], rng: random.Random) -> str | None:
        """What stands in the relevant passage's place, if anything does."""
        if rng.random() >= self.params.near:
            return None
        other = misnamed(golden, asked["question"], self.names, rng)
        return other if other and (not like_it or rng.random() < 0.5) else rng.choice(like_it or [None])

    def _record(
        self,
        asked: dict[str, Any],
        split: str,
        golden: str | None,
        others: list[str],
        near: str | None,
        rng: random.Random,
        draw: int,
    ) -> Record | None:
        most, alone = self.prompting.passages, split != "test" and self.prompting.reading == "apart"
        may_drop = golden is not None and (split == "train" or alone)
        dropped = may_drop and rng.random() >= self.params.golden_fraction
        room = rng.randint(1, most) if split == "train" and self.params.fewer else most
        if alone:
            room = 1
        if self.params.arm == "oracle" and split != "test":
            if golden is None:
                return None
            shown, dropped = [golden], False
        else:
            kept = [golden] if golden is not None and not dropped else []
            pool = others[: 2 * most]
            if split == "train" and rng.random() < self.params.far:
                some = rng.sample(self.anywhere, min(4 * most, len(self.anywhere)))
                pool = [text for text in some if asked["answer"] is None or not tells(text, asked)]
            if dropped and near:
                kept, pool = [near], [text for text in pool if text != near]
            shown = [*kept, *rng.sample(pool, min(room - len(kept), len(pool)))]
            rng.shuffle(shown)
        place = shown.index(golden) + 1 if golden in shown and not dropped else 0
        say = Renaming(self.names, rng) if self.names and draw else str
        question, shown = say(asked["question"]), [say(text) for text in shown]
        answer, golden = (say(asked["answer"]), shown[place - 1]) if place else (None, "")
        texts = {
            "prompt": prompt_of(question, shown, self.prompting),
            "answer": target_of(answer, place, golden, self.prompting),
            "relevant": f"{golden}\n{question}",
            "irrelevant": "\n".join(text for number, text in enumerate(shown, 1) if number != place),
        }
        if len(self.tokenizer(texts["prompt"] + " " + texts["answer"])["input_ids"]) + 2 > self.max_tokens:
            return None
        meta = {
            "question": asked["id"],
            "kind": asked["kind"],
            "form": asked.get("form"),
            "value": answer,
            "asked": question,
            "shown": shown,
        }
        return Record(f"{asked['id']}-{draw}", texts, meta)


def _passages(path: Any, max_chars: int) -> Iterator[str]:
    from components.engines.base.paths import each_of_jsonl
    from components.engines.documents.chunking import Chunk

    if path.is_file():
        for row in each_of_jsonl(path):
            yield from passages_of(Chunk.from_dict(row), max_chars)
