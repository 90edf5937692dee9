"""How likely the fine-tuned model finds what the assistant says in test conversations, where training has been and beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from components.engines.language.causal import CausalLM, Tokens
from components.engines.scoring.likelihood import unigram_nlls
from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.perplexity import perplexity


def likelihood_figures(
    network: Any, train: Sequence[Tokens], test: Sequence[Tokens], max_tokens: int
) -> dict[str, float]:
    """Perplexity, that of token frequencies alone, and `perplexity_beyond`: the same answers behind so many earlier exchanges
    that they stand where no training has been, where the network has such positions."""
    learnt = [_learnt(one) for one in test]
    figures = {
        "perplexity": _of(network, test),
        "perplexity_unigram": compute(perplexity, unigram_nlls(map(_learnt, train), learnt, network.config.vocab_size))[
            "perplexity"
        ],
    }
    positions = getattr(network.config, "max_position_embeddings", None) or getattr(network.config, "max_seq_len", None)
    if positions is None or positions >= 2 * max_tokens:
        figures["perplexity_beyond"] = _of(network, beyond(train, test, max_tokens))
    return figures


def beyond(train: Sequence[Tokens], test: Sequence[Tokens], max_tokens: int) -> list[Tokens]:
    """The test conversations with those of the training split before them, so that they begin at `max_tokens`."""
    earlier, found = cycle(train), []
    for one in test:
        before: list[int] = []
        while len(before) < max_tokens:
            before += next(earlier).ids[bool(before) :]  # one start token is enough
        ids = [*before[:max_tokens], *one.ids[1:]][: 2 * max_tokens]
        found.append(Tokens(ids, ([False] * max_tokens + one.learnt[1:])[: 2 * max_tokens]))
    return found


def _of(network: Any, samples: Sequence[Tokens]) -> float:
    task = CausalLM(network, samples, samples, pad_id=network.config.pad_token_id)
    return float(compute(perplexity, task.nlls(samples))["perplexity"])


def _learnt(one: Tokens) -> list[int]:
    return [token for token, learnt in zip(one.ids, one.learnt, strict=True) if learnt]
