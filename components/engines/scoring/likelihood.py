"""How likely a model finds texts, token by token: what perplexity is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.engines.base.errors import StageError


def token_nlls(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    sources: Sequence[str] | None = None,
    batch_size: int = 16,
    device: str = "cpu",
) -> list[list[float]]:
    """Negative log-likelihood (nats) of every token of each text, given those before it (and its source, if any).

    Decoder-only models do not predict a text's first token, unless the tokenizer puts a BOS before it; with `sources`
    the model is an encoder–decoder and every target token counts, the end token included. Texts longer than the model's
    positions raise StageError. Independent of `batch_size` up to float rounding; the model is left in eval mode.
    """
    import torch

    if sources is not None and len(sources) != len(texts):
        raise StageError(f"Likelihood needs one source per text, got {len(sources)} for {len(texts)}")
    model.eval().to(device)
    limit = getattr(model.config, "max_position_embeddings", None)
    found: list[list[float]] = []
    with torch.no_grad():
        for start in range(0, len(texts), batch_size):
            chosen = slice(start, start + batch_size)
            batch = _encode(tokenizer, texts[chosen], None if sources is None else sources[chosen], limit)
            found.extend(_nlls(model, {name: values.to(device) for name, values in batch.items()}))
    return found


def _encode(tokenizer: Any, texts: Sequence[str], sources: Sequence[str] | None, limit: int | None) -> dict[str, Any]:
    """Right-padded `input_ids`, `attention_mask` and `labels` (-100 where nothing is predicted), (batch, tokens)."""
    targets = tokenizer(text_target=list(texts))["input_ids"] if sources else tokenizer(list(texts))["input_ids"]
    inputs = tokenizer(list(sources))["input_ids"] if sources else targets
    longest = max(map(len, [*inputs, *targets]), default=0)
    if limit is not None and longest > limit:
        raise StageError(f"A text has {longest} tokens, more than the model's {limit} positions", do="cut or split it")
    ids, mask = _padded(inputs, 0)
    labels, _ = _padded(targets, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _padded(lists: list[list[int]], filler: int) -> tuple[Any, Any]:
    import torch

    width = max(1, *map(len, lists))
    rows = [list(tokens) + [filler] * (width - len(tokens)) for tokens in lists]
    mask = [[1] * len(tokens) + [0] * (width - len(tokens)) for tokens in lists]
    return torch.tensor(rows), torch.tensor(mask)


def _nlls(model: Any, batch: dict[str, Any]) -> list[list[float]]:
    import torch

    labels = batch["labels"]  # (batch, tokens)
    logits = model(**batch).logits.float()  # (batch, tokens, vocabulary)
    if not model.config.is_encoder_decoder:  # position t predicts token t + 1
        logits, labels = logits[:, :-1], labels[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-100)
    return [row[kept].tolist() for row, kept in zip(loss.double().cpu(), (labels != -100).cpu(), strict=True)]
