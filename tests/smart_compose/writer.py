"""A composer that has read a hundred mails of the sample grammar, in seconds."""

import random
from functools import cache

import numpy as np
import torch

from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe
from components.engines.language.causal import CausalLM
from components.engines.language.records import Record
from components.smart_compose.architecture import Architecture, Composing
from components.smart_compose.networks import language_model
from components.smart_compose.serving.composer import Composer
from components.smart_compose.tasks.mails import MARKS, MailTokens, MailWindows
from components.smart_compose.world import grammar, phrases

SHAPE = Architecture(width=32, layers=1, heads=2, max_tokens=96, context_tokens=40)


def mails(count, seed=0):
    """Scrubbed mails, every second an answer to one like them."""
    rng, found = random.Random(seed), []
    for number in range(count):
        topic, detail = rng.choice(grammar.subjects())
        style, other = (rng.choice(sorted(phrases.STYLES)) for _ in range(2))
        relation = rng.choice(sorted(phrases.RELATIONS))
        before = grammar.draw(rng, topic, detail, other, relation) if number % 2 else None
        made = grammar.draw(rng, topic, detail, style, relation, before)
        texts = {"subject": made.subject, "previous": made.previous, "body": made.body}
        found.append(Record(f"{seed}-{number}", texts, {"sender": [f"s{seed}"]}))
    return found


@cache
def tokenizer():
    texts = (text for one in mails(150) for text in one.texts.values())
    return train_bpe(texts, Vocabulary(vocab_size=500), SPECIAL, single="<s> $A", more=MARKS, strip=False, spaced=False)


@cache
def network(family="gpt2", steps=70):
    torch.manual_seed(0)
    shape = SHAPE.model_copy(update={"family": family})
    made = language_model.build(shape, tokenizer())
    windows = MailWindows(mails(150), MailTokens(tokenizer(), shape))
    task = CausalLM(made, windows, windows, pad_id=0)
    optimizer, rng = torch.optim.AdamW(made.parameters(), lr=1e-2), np.random.default_rng(0)
    for _ in range(steps):
        loss, _sums = task.loss(task.batch(rng.integers(0, len(windows), 16), 0))
        (loss / 500).backward()
        optimizer.step()
        optimizer.zero_grad()
    return made.eval()


def composer(threshold=0.3, **composing):
    return Composer(network(), tokenizer(), SHAPE, Composing(**composing), threshold=threshold, region="US")
