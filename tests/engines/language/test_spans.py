"""What a text encoder learns from filling in captions: the words alone, or also which of two comes first."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe
from components.engines.language.spans import SpanCorruption, build_t5, encoder_of, num_sentinels, sentinel
from components.engines.language.tokens import IGNORED

WAYS = ("left", "right", "up", "down")
PAIRS = [(one, other) for one in WAYS for other in WAYS if one != other]
CAPTIONS = [f"a {hue} {one} moves" for hue in ("red", "blue", "green") for one in ("square", "cross", "ring")]
TEXTS = [f"{what} {one}, then turns {other}" for what in CAPTIONS for one, other in PAIRS]
SAMPLES = [SimpleNamespace(caption=text) for text in TEXTS]


def task_of(target):
    tokenizer = train_bpe(iter(TEXTS), Vocabulary(vocab_size=330), SPECIAL, single="<s> $A </s>")
    tokenizer.add_tokens([sentinel(number) for number in range(num_sentinels(24))], special_tokens=True)
    torch.manual_seed(0)
    t5 = build_t5(tokenizer, width=32, layers=2, heads=2)
    return SpanCorruption(
        t5, tokenizer, SAMPLES, SAMPLES, max_tokens=24, fraction=0.3, mean_span=2.0, target=target, seed=0
    )


def test_the_whole_text_is_written_or_what_was_left_out_of_it():
    indices = np.arange(4)
    for target in ("text", "spans"):
        task = task_of(target)
        batch = task.batch(indices, 0)
        written = [[token for token in row if token != IGNORED] for row in batch["labels"].tolist()]
        whole = [task.tokenizer(TEXTS[index])["input_ids"] for index in indices]
        assert (written == whole) == (target == "text")
        assert all(set(row) & set(task.sentinels) for row in batch["input_ids"].tolist())


@pytest.mark.slow
@pytest.mark.parametrize(("target", "knows"), [("text", True), ("spans", False)])
def test_only_writing_the_text_tells_which_of_two_words_comes_first(target, knows):
    assert (order_told(task_of(target)) > 0.95) == knows


def order_told(task):
    """How often a linear probe of the encoder's states of the two words tells the first from the second, on unseen texts."""
    optimizer = torch.optim.AdamW(task.t5.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for step in range(400):
        batch = task.batch(rng.choice(len(TEXTS), 32), step)
        loss, _ = task.loss(batch)
        optimizer.zero_grad()
        loss.div((batch["labels"] != IGNORED).sum()).backward()
        optimizer.step()
    encoder = encoder_of(task.t5).eval()
    states, second = [], []
    for text in TEXTS:
        ids = task.tokenizer(text, return_tensors="pt")["input_ids"]
        pieces = [piece.strip("Ġ") for piece in task.tokenizer.convert_ids_to_tokens(ids[0])]
        with torch.no_grad():
            hidden = encoder(input_ids=ids).last_hidden_state[0]
        places = [place for place, piece in enumerate(pieces) if piece in WAYS]
        assert len(places) == 2
        states += [hidden[place] for place in places]
        second += [0.0, 1.0]
    return probed(torch.stack(states), torch.tensor(second))


def probed(states, wanted):
    half = len(states) // 2
    given = torch.cat([states, torch.ones(len(states), 1)], 1)
    weights = torch.linalg.lstsq(given[:half], 2 * wanted[:half, None] - 1).solution
    return float((((given[half:] @ weights)[:, 0] > 0) == wanted[half:].bool()).float().mean())
