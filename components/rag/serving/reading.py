"""The reader put to work: a question with the passages found for it -> an answer and the passages it cites, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_text, next_scores, stream_text
from components.rag.architecture import Prompting
from components.rag.serving.prompts import NONE, prompt_of, read_answer, target_of


@dataclass(frozen=True)
class Put:
    """A question, the passages to answer it from, what is known about who asks, and how well the search thinks that each passage
    fits (nothing: all alike)."""

    question: str
    passages: Sequence[str]
    user: str | None = None
    fits: Sequence[float] | None = None


@dataclass(frozen=True)
class Reading:
    """`answer` None is an abstention. `cited` are numbers of passages, from 1."""

    answer: str | None
    cited: list[int]


@dataclass(frozen=True)
class Page:
    """What the reader is shown: a prompt, and the numbers that its passages have among those found."""

    prompt: str
    numbers: list[int]


class Reader:
    """Passages are read as `prompting.reading` says. `together`: all in one prompt. `apart`: each in a prompt of its own, and the
    answer comes from one: where the search's opinion of it and the reader's, how sure it is to answer from it, are the highest
    together (Lewis et al. 2020, arXiv:2005.11401, § 2.1, of whose sum this takes the largest term)."""

    def __init__(self, network: Any, tokenizer: Any, prompting: Prompting, decoding: Decoding) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer
        self.prompting, self.decoding = prompting, decoding

    def pages(self, asked: Sequence[Put]) -> list[Page]:
        """What each question is answered from."""
        if self.prompting.reading == "together":
            return [Page(self._prompt(one, one.passages), [*range(1, len(one.passages) + 1)]) for one in asked]
        prompts = [[self._prompt(one, [passage]) for passage in one.passages] for one in asked]
        sure = iter(self._sureness([prompt for some in prompts for prompt in some]))
        return [self._surest(one, some, [next(sure) for _ in some]) for one, some in zip(asked, prompts, strict=True)]

    def _surest(self, one: Put, prompts: list[str], scores: list[float]) -> Page:
        if not prompts:
            return Page(self._prompt(one, []), [])
        if one.fits is not None:
            scores = [score + self.prompting.search_weight * fit for score, fit in zip(scores, one.fits, strict=True)]
        best = scores.index(max(scores))  # of equals the first
        return Page(prompts[best], [best + 1])

    def read(self, asked: Sequence[Put], decoding: Decoding | None = None, seed: int = 0) -> list[Reading]:
        if not asked:
            return []
        pages, how = self.pages(asked), decoding or self.decoding
        prompts = [page.prompt for page in pages]
        made = generate_text(self.network, self.tokenizer, prompts, how, scored=False, seed=seed)
        return [self.understood(page, one.text) for page, one in zip(pages, made, strict=True)]

    def stream(self, page: Page) -> Iterator[str]:
        """The reader's text as it is made."""
        return stream_text(self.network, self.tokenizer, page.prompt, self.decoding)

    def understood(self, page: Page, text: str) -> Reading:
        answer, cited = read_answer(text, len(page.numbers), self.prompting)
        return Reading(answer, [page.numbers[number - 1] for number in cited])

    def _prompt(self, one: Put, passages: Sequence[str]) -> str:
        return prompt_of(one.question, passages, self.prompting, one.user)

    def _sureness(self, prompts: list[str]) -> list[float]:
        """How much likelier (log odds) each prompt's answer begins by citing its passage than by abstaining."""
        begins = [target_of("", 1, "", self.prompting), NONE]
        cites, none = (self.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in begins)
        scores = next_scores(self.network, self.tokenizer, prompts, [cites, none])
        return [citing - abstaining for citing, abstaining in scores]
