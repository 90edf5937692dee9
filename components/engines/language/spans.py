"""A text encoder from scratch: T5 trained to fill in what is missing from captions.

Its decoder writes the `spans` left out (Raffel et al. 2020, arXiv 1910.10683, § 3.3) or the `text` as it was (Lewis et al. 2020,
arXiv 1910.13461, § 2.2: text infilling). What stands where is needed for the second alone: of captions like "moves right, then
turns down" a small T5 that fills in spans tells both words, but not which of them came first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from components.engines.base.seeds import derive
from components.engines.language.tokens import IGNORED, VALID_BATCH, num_labels, token_loss, token_scores
from components.engines.training.task import Batch, Task, Turn

Target = Literal["spans", "text"]


def sentinel(number: int) -> str:
    """The token that stands for the number-th span left out."""
    return f"<extra_id_{number}>"


def build_t5(tokenizer: Any, *, width: int, layers: int, heads: int) -> Any:
    """A randomly initialised T5ForConditionalGeneration; ids [n, tokens] -> logits [n, target tokens, vocabulary]."""
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_kv=width // heads,
            d_ff=2 * width,
            num_layers=layers,
            num_decoder_layers=1,  # the decoder is thrown away: what it cannot do the encoder has to
            num_heads=heads,
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )


def encoder_of(t5: Any) -> Any:
    """Its encoder as a T5EncoderModel."""
    from transformers import T5EncoderModel

    network = T5EncoderModel(t5.encoder.config)
    network.load_state_dict(
        {name: tensor for name, tensor in t5.state_dict().items() if name.startswith(("shared.", "encoder."))}
    )
    return network


def corrupt(
    ids: list[int], sentinels: list[int], fraction: float, mean_span: float, seed: int
) -> tuple[list[int], list[int]]:
    """(the text with spans replaced by sentinels, each sentinel with what it stands for).

    About `fraction` of the inner tokens go, at least one, in spans of `mean_span` on average; the first and the last token, which
    stand in every text, stay.
    """
    rng = np.random.default_rng(seed)
    inner = len(ids) - 2
    lost = min(max(round(inner * fraction), 1), inner)
    if lost < 1:
        return ids, [*ids[-1:]]
    spans = min(max(round(lost / mean_span), 1), lost, inner - lost + 1, len(sentinels))
    lengths = _parts(lost, spans, rng)
    gaps = _parts(inner - lost + 2, spans + 1, rng)  # one more at both ends, taken off again: a span may touch an end
    source, target, position = ids[:1], [], 1
    for number, (gap, length) in enumerate(zip(gaps, [*lengths, 0], strict=True)):
        kept = gap - (number in (0, spans))
        source += ids[position : position + kept]
        position += kept
        if number < spans:
            source.append(sentinels[number])
            target += [sentinels[number], *ids[position : position + length]]
            position += length
    return source + ids[-1:], target + ids[-1:]


def _parts(total: int, count: int, rng: np.random.Generator) -> list[int]:
    """`total` as a sum of `count` positive numbers, all such sums equally likely."""
    cuts = np.sort(rng.choice(total - 1, count - 1, replace=False) + 1)
    return np.diff([0, *cuts, total]).tolist()


class SpanCorruption(Task):
    """Samples are anything with a `caption`. `target`: what the decoder writes.

    Batches: `input_ids`, `attention_mask` [n, tokens], `labels` [n, target tokens] with padding -100.
    """

    def __init__(
        self,
        t5: Any,
        tokenizer: Any,
        train: Sequence[Any],
        valid: Sequence[Any],
        *,
        max_tokens: int,
        fraction: float,
        mean_span: float,
        target: Target,
        seed: int,
    ) -> None:
        self.target: Target = target
        self.t5, self.tokenizer, self.train, self.valid = t5, tokenizer, train, valid
        self.max_tokens, self.fraction, self.mean_span, self.seed = max_tokens, fraction, mean_span, seed
        self.sentinels = tokenizer.convert_tokens_to_ids([sentinel(n) for n in range(num_sentinels(max_tokens))])
        self.modules, self.num_samples = {"t5": t5}, len(train)
        self.turns = [Turn("t5", self.loss, list(t5.parameters()), weight=num_labels)]

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate(self.train, indices, f"epoch {epoch}")

    def _collate(self, samples: Sequence[Any], indices: np.ndarray, purpose: str) -> Batch:
        texts = [samples[index].caption for index in indices.tolist()]
        whole = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        pairs = [
            corrupt(ids, self.sentinels, self.fraction, self.mean_span, derive(self.seed, "spans", purpose, index))
            for ids, index in zip(whole, indices.tolist(), strict=True)
        ]
        sources = [torch.tensor(source) for source, _ in pairs]
        wanted = whole if self.target == "text" else [spans for _, spans in pairs]
        targets = [torch.tensor(ids) for ids in wanted]
        lengths = torch.tensor([len(source) for source in sources])
        ids = _padded(sources, self.tokenizer.pad_token_id)
        mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": _padded(targets, IGNORED)}

    def count_tokens(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum()) + num_labels(batch)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy summed over the target tokens, and how many of them were right."""
        logits = self.t5(**batch).logits
        return token_loss(logits, batch["labels"])

    def score(self) -> dict[str, float]:
        starts = range(0, len(self.valid), VALID_BATCH)
        batches = (
            self._collate(self.valid, np.arange(start, min(start + VALID_BATCH, len(self.valid))), "valid")
            for start in starts
        )
        scores = token_scores(self.loss, batches, self.t5.device)
        return {name: scores[name] for name in ("valid_loss", "valid_accuracy")}


def num_sentinels(max_tokens: int) -> int:
    """As many as there can be spans with something between them."""
    return math.ceil(max_tokens / 2)


def _padded(rows: list[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
