"""How likely the model finds the test mails, beside the grammar that made them and the frequencies of tokens alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from components.engines.language.causal import CausalLM, Tokens
from components.engines.language.records import Record
from components.engines.scoring.likelihood import unigram_nlls
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.perplexity import perplexity
from components.smart_compose.tasks.mails import PREVIOUS, MailTokens, MailWindows
from components.smart_compose.world.grammar import log_probability

NAMES = ("subject", "previous", "body")


class Likelihood:
    """`nlls[i]`: of every token of mail i's body and of its end (nats), given all before them."""

    def __init__(self, network: Any, tokens: MailTokens, train: Sequence[Record], test: Sequence[Record]) -> None:
        self.network, self.tokens, self.train, self.test = network, tokens, train, test
        windows = MailWindows(test, tokens)
        self.nlls: list[list[float]] = [[] for _ in test]
        for mail, found in zip(windows.mails, self._of(list(windows)), strict=True):
            self.nlls[mail] += found

    def figures(self) -> dict[str, float]:
        """Perplexity with its baselines. The grammar's is that of a perfect model, over the mails that it can have made."""
        learnt = [[token for one in self.tokens.samples(mail.texts) for token in _learnt(one)] for mail in self.test]
        seen = (_learnt(one) for mail in self.train for one in self.tokens.samples(mail.texts))
        size = len(self.tokens.tokenizer)
        figures = {
            "perplexity": compute(perplexity, self.nlls)["perplexity"],
            "perplexity_unigram": compute(perplexity, unigram_nlls(seen, learnt, size))["perplexity"],
        }
        return figures | self._grammar() | self._beyond()

    def of_bodies(self, mails: list[tuple[str, str, str]]) -> list[float]:
        """Negative log-likelihood (nats) of the whole body of each mail: subject, mail answered, body."""
        texts = [dict(zip(NAMES, one, strict=True)) for one in mails]
        samples = [self.tokens.samples(one) for one in texts]
        found = iter(self._of([window for windows in samples for window in windows]))
        return [math.fsum(math.fsum(next(found)) for _ in windows) for windows in samples]

    def _grammar(self) -> dict[str, float]:
        known = [log_probability(*(one.texts[name] for name in NAMES)) for one in self.test]
        made = [(-one, nlls) for one, nlls in zip(known, self.nlls, strict=True) if one is not None]
        if not made:
            return {}
        tokens = sum(len(nlls) for _, nlls in made)
        entropy = math.exp(sum(one for one, _ in made) / tokens)
        ours = math.exp(sum(sum(nlls) for _, nlls in made) / tokens)
        return {"perplexity_grammar": entropy, "perplexity_over_grammar": ours / entropy, "grammar_mails": len(made)}

    def _beyond(self) -> dict[str, float]:
        """The same bodies behind a thread so long that they stand where no training has been, if the network has such
        positions."""
        limit, positions = self.tokens.shape.max_tokens, getattr(self.network.config, "max_position_embeddings", None)
        if positions is not None and positions < 2 * limit:
            return {}
        return {"perplexity_beyond": compute(perplexity, self._of(self._long_threads(limit)))["perplexity"]}

    def _long_threads(self, limit: int) -> list[Tokens]:
        """Every test mail with earlier mails before the one that it answers, so that its body begins at position `limit`."""
        thread = cycle([self.tokens.text(f" {one.texts['body']}") for one in self.test])
        found = []
        for one in self.test:
            context = self.tokens.context(one.texts["subject"], one.texts["previous"])
            place = context.index(self.tokens.special[PREVIOUS]) + 1
            filler: list[int] = []
            while len(filler) < limit - len(context):
                filler += next(thread)
            before = [*context[:place], *filler[: limit - len(context)], *context[place:]]
            body = [*self.tokens.text(f" {one.texts['body']}"), self.tokens.tokenizer.eos_token_id][:limit]
            found.append(Tokens([*before, *body], [False] * len(before) + [True] * len(body)))
        return found

    def _of(self, samples: list[Tokens]) -> list[list[float]]:
        return CausalLM(self.network, samples, samples, pad_id=self.tokens.tokenizer.pad_token_id).nlls(samples)


def _learnt(one: Tokens) -> list[int]:
    return [token for token, learnt in zip(one.ids, one.learnt, strict=True) if learnt]
