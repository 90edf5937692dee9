"""Text from encoder–decoder and decoder-only models, or about pictures: in batches with the order kept, or streamed."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.seeds import derive
from components.engines.generation.decoding import Decoding, neutral, to_generation_config
from components.engines.generation.sampling import sampling_processors

FEATURES = "encoder_hidden_states"  # transformers' name of what a decoder attends to


@dataclass(frozen=True)
class Generated:
    """One output. `tokens` are its ids without start, end and padding; `score` is the model's mean log-probability (nats) of
    these tokens and the end token, whatever the strategy; `finished` is false where the length limit cut it."""

    text: str
    score: float
    tokens: list[int]
    finished: bool


@dataclass(frozen=True)
class _Job:
    """One row to generate: where its output goes, its input ids, its limit and the seed of its draws.

    `features` is what a decoder-only model attends to besides, [tokens, width].
    """

    position: int
    ids: list[int]
    limit: int
    seed: int
    features: Any = None


def generate_text(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    decoding: Decoding,
    *,
    batch_size: int = 32,
    seed: int = 0,
    scored: bool = True,
) -> list[Generated]:
    """Outputs in the order of `texts`; with `num_return_sequences` n, n in a row for each (best beam first).

    The model stays where it is. Decoder-only models get their prompts padded on the left and return the continuation alone.
    Inputs of similar length share a batch. Greedy and beam outputs are functions of model and text (batching can change them
    only where two tokens tie within float rounding, and moves scores by as much); samples are functions of model, text, seed
    and how often the same text came before in `texts`.
    `scored=False` leaves out the scores (NaN) and the parallel pass that computes them, up to a third of greedy's time.
    Raises UsageError for an input longer than the model's positions.
    """
    jobs = _jobs(model, tokenizer, texts, decoding, seed)
    return _generate(model, tokenizer, jobs, decoding, batch_size, scored)


def generate_about(
    decoder: Any,
    tokenizer: Any,
    features: Any,
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    batch_size: int = 32,
    scored: bool = True,
) -> list[Generated]:
    """Outputs of a text decoder for each of `features` [inputs, tokens, width], which it attends to (an encoded picture, say).

    `decoder` is a decoder-only model that takes `encoder_hidden_states`; its generation config names the start and end tokens.
    Order, copies and scores are as with `generate_text`; samples are functions of model, features and the input's own seed.
    """
    start = decoder.generation_config.bos_token_id
    if start is None:
        raise UsageError("The decoder knows no start token", where="its generation config: bos_token_id")
    rows = decoding.num_return_sequences if decoding.strategy == "sample" else 1
    limit = min(decoding.limit(features.shape[1]), decoder.config.max_position_embeddings - 1)
    jobs = [
        _Job(index * decoding.num_return_sequences + row, [start], limit, derive(seed, "sample", row), one)
        for index, (one, seed) in enumerate(zip(features, seeds, strict=True))
        for row in range(rows)
    ]
    return _generate(decoder, tokenizer, jobs, decoding, batch_size, scored)


def _generate(
    model: Any, tokenizer: Any, jobs: list[_Job], decoding: Decoding, batch_size: int, scored: bool
) -> list[Generated]:
    """Outputs by position, from rows that may be given in any order."""
    import torch

    model.eval()
    rows_per_job = decoding.num_return_sequences if decoding.strategy == "beam" else 1
    found: list[Generated | None] = [None] * (len(jobs) * rows_per_job)
    with torch.inference_mode():
        for batch in _batches(jobs, batch_size):
            outputs = _run(model, tokenizer, batch, decoding, scored)
            for index, output in enumerate(outputs):
                found[batch[index // rows_per_job].position + index % rows_per_job] = output
    return [output for output in found if output is not None]


def stream_text(model: Any, tokenizer: Any, text: str, decoding: Decoding, *, seed: int = 0) -> Iterator[str]:
    """Pieces of `generate_text`'s output for one text as they are made: joined, they are that text.

    Works for greedy and sample (a beam is known only at its end) and one sequence. Pieces end at word boundaries. An error
    in the model surfaces here; closing the iterator early stops the generation.
    """
    if decoding.strategy == "beam" or decoding.num_return_sequences > 1:
        raise UsageError("Only one sequence by strategy greedy or sample can be streamed", where="decoding.strategy")
    model.eval()
    (job,) = _jobs(model, tokenizer, [text], decoding, seed)
    return _stream(model, tokenizer, job, decoding)


def stream_ids(model: Any, tokenizer: Any, ids: list[int], decoding: Decoding, *, seed: int = 0) -> Iterator[str]:
    """As `stream_text`, behind a prompt that is token ids already; row i of a batch with this seed draws the same."""
    if decoding.strategy == "beam" or decoding.num_return_sequences > 1:
        raise UsageError("Only one sequence by strategy greedy or sample can be streamed", where="decoding.strategy")
    model.eval()
    return _stream(model, tokenizer, _Job(0, ids, decoding.limit(len(ids)), seed), decoding)


def next_scores(
    model: Any, tokenizer: Any, texts: Sequence[str], ids: Sequence[int], *, batch_size: int = 32
) -> list[list[float]]:
    """Log-probabilities (nats) that a decoder-only model gives the tokens `ids` right behind each text: [texts, ids]."""
    import torch

    model.eval()
    decoding = Decoding(max_new_tokens=1)
    jobs = _jobs(model, tokenizer, texts, decoding, 0)
    found: list[list[float]] = [[] for _ in jobs]
    with torch.inference_mode():
        for batch in _batches(jobs, batch_size):
            given = _arguments(model, tokenizer, batch, decoding)
            (logits,) = neutral(model).generate(**given, output_logits=True).logits  # [batch, vocabulary]
            for job, row in zip(batch, logits.float().log_softmax(-1)[:, list(ids)].tolist(), strict=True):
                found[job.position] = row
    return found


def _jobs(model: Any, tokenizer: Any, texts: Sequence[str], decoding: Decoding, seed: int) -> list[_Job]:
    """Rows to run. Samples ask for several rows per text; beam search makes its several outputs from one."""
    positions = getattr(model.config, "max_position_embeddings", None)
    rows_per_text = decoding.num_return_sequences if decoding.strategy == "sample" else 1
    earlier: Counter[str] = Counter()
    jobs = []
    for index, text in enumerate(texts):
        ids = _input_ids(model, tokenizer, text, positions)
        limit = decoding.limit(len(ids))
        if positions is not None:  # the decoder's own positions: start token, or the prompt, come first
            limit = min(limit, positions - (1 if model.config.is_encoder_decoder else len(ids)))
        for row in range(rows_per_text):
            row_seed = derive(seed, "sample", text, earlier[text], row)
            jobs.append(_Job(index * decoding.num_return_sequences + row, ids, limit, row_seed))
        earlier[text] += 1
    return jobs


def _input_ids(model: Any, tokenizer: Any, text: str, positions: int | None) -> list[int]:
    ids = list(tokenizer(text)["input_ids"])
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    room = 0 if model.config.is_encoder_decoder else 1
    if not ids or (positions is not None and len(ids) + room > positions):
        shown = text if len(text) <= 60 else text[:59] + "…"
        what = (
            "The input has no tokens"
            if not ids
            else f"The input has {len(ids)} tokens, the model {positions} positions"
        )
        raise UsageError(what, where=repr(shown), do="shorten or split it" if ids else "give some text")
    return ids


def _batches(jobs: list[_Job], batch_size: int) -> Iterator[list[_Job]]:
    """Jobs of one limit, longest inputs first (so that memory runs out at the start or never)."""
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}")
    ordered = sorted(jobs, key=lambda job: (-job.limit, -len(job.ids), job.position))
    batch: list[_Job] = []
    for job in ordered:
        if batch and (len(batch) == batch_size or job.limit != batch[0].limit):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _run(model: Any, tokenizer: Any, jobs: list[_Job], decoding: Decoding, scored: bool) -> list[Generated]:
    arguments = _arguments(model, tokenizer, jobs, decoding)
    sequences = neutral(model).generate(**arguments).sequences
    start = 1 if model.config.is_encoder_decoder else arguments["input_ids"].shape[1]
    ends = _end_ids(model)
    rows = [_cut(row, ends) for row in sequences[:, start:].tolist()]
    lengths = [len(tokens) + finished for tokens, finished in rows]
    scores = _scores(model, arguments, sequences, start, lengths) if scored else [math.nan] * len(rows)
    return [
        Generated(tokenizer.decode(tokens, skip_special_tokens=True).strip(), score, tokens, finished)
        for (tokens, finished), score in zip(rows, scores, strict=True)
    ]


def _arguments(model: Any, tokenizer: Any, jobs: list[_Job], decoding: Decoding) -> dict[str, Any]:
    import torch

    device = next(model.parameters()).device
    width = max(len(job.ids) for job in jobs)
    pad = _pad_id(model, tokenizer)
    left = not model.config.is_encoder_decoder
    rows, mask = [], []
    for job in jobs:
        gap = width - len(job.ids)
        rows.append([pad] * gap + job.ids if left else job.ids + [pad] * gap)
        mask.append([0] * gap + [1] * len(job.ids) if left else [1] * len(job.ids) + [0] * gap)
    config = to_generation_config(decoding, model, max_new_tokens=jobs[0].limit)
    config.pad_token_id = pad
    arguments = {
        "input_ids": torch.tensor(rows, device=device),  # (batch, tokens)
        "attention_mask": torch.tensor(mask, device=device),
        "generation_config": config,
    }
    if jobs[0].features is not None:
        arguments[FEATURES] = torch.stack([job.features for job in jobs]).to(device)
    if decoding.strategy == "sample":
        arguments["logits_processor"] = sampling_processors(decoding, [job.seed for job in jobs])
    return arguments


def _pad_id(model: Any, tokenizer: Any) -> int:
    """Padding is masked out, so that any id serves where a decoder-only checkpoint has none of its own."""
    known = [tokenizer.pad_token_id, model.generation_config.pad_token_id, *sorted(_end_ids(model)), 0]
    return next(token for token in known if token is not None)


def _end_ids(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    if ends is None:
        return set()
    return set(ends) if isinstance(ends, list) else {ends}


def _cut(row: list[int], ends: set[int]) -> tuple[list[int], bool]:
    """(tokens before the first end token, whether there was one)."""
    for position, token in enumerate(row):
        if token in ends:
            return row[:position], True
    return row, False


def _scores(model: Any, arguments: dict[str, Any], sequences: Any, start: int, lengths: list[int]) -> list[float]:
    """Mean log-probability of each output's first `lengths[i]` tokens, by one parallel pass over what was generated."""
    import torch

    times = len(sequences) // len(arguments["input_ids"])  # beam search returns several rows per input
    mask = arguments["attention_mask"].repeat_interleave(times, 0)
    targets = sequences[:, start:]  # (rows, new tokens)
    if model.config.is_encoder_decoder:
        inputs = arguments["input_ids"].repeat_interleave(times, 0)
        logits = model(input_ids=inputs, attention_mask=mask, decoder_input_ids=sequences[:, :-1]).logits
    else:
        whole = torch.cat([mask, torch.ones_like(targets)], 1)
        places = (whole.cumsum(1) - 1).clamp(min=0)  # padding on the left takes no position
        about = {name: arguments[name].repeat_interleave(times, 0) for name in arguments if name == FEATURES}
        logits = model(input_ids=sequences, attention_mask=whole, position_ids=places, **about).logits
        logits = logits[:, start - 1 : -1]
    logits = logits.float()  # (rows, new tokens, vocabulary)
    chosen = logits.gather(2, targets.unsqueeze(2)).squeeze(2) - logits.logsumexp(-1)  # (rows, new tokens)
    counted = (
        torch.arange(targets.shape[1], device=targets.device) < torch.tensor(lengths, device=targets.device)[:, None]
    )
    sums = torch.where(counted, chosen, 0.0).sum(1)
    return [total / max(length, 1) for total, length in zip(sums.tolist(), lengths, strict=True)]


def _stream(model: Any, tokenizer: Any, job: _Job, decoding: Decoding) -> Iterator[str]:
    from transformers import TextIteratorStreamer

    pieces = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    stop, failed = threading.Event(), list[BaseException]()
    arguments = _arguments(model, tokenizer, [job], decoding)
    arguments |= {"streamer": pieces, "stopping_criteria": _stopping(stop)}
    thread = threading.Thread(target=_generate_into, args=(pieces, failed, model, arguments), daemon=True)
    thread.start()
    try:
        yield from (piece for piece in pieces if piece)
        if failed:
            raise failed[0]
    finally:
        stop.set()
        thread.join()


def _generate_into(pieces: Any, failed: list[BaseException], model: Any, arguments: dict[str, Any]) -> None:
    import torch

    try:
        with torch.inference_mode():
            neutral(model).generate(**arguments)
    except BaseException as raised:  # whatever it is belongs to the reader of the stream, in the other thread
        failed.append(raised)
        pieces.end()


def _stopping(stop: threading.Event) -> Any:
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Stop(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((len(input_ids),), stop.is_set(), dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([Stop()])
