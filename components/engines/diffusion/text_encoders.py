"""Text encoders that exist already, as the denoiser is told of texts by them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from components.engines.diffusion.conditioning import Conditioner
from components.engines.nn.checkpoints import load_network, load_tokenizer
from components.engines.scoring.embedder import Embedder

_WORD = re.compile(r"[^\W\d_]+")


def of_clip(source: str | Path, max_tokens: int) -> Conditioner:
    """The text tower of a CLIPModel."""
    embedder = Embedder.load(source)
    return Conditioner(embedder.network.text_model, embedder.tokenizer, max_tokens)


def learn_words(conditioner: Conditioner, texts: Iterable[str], least: int) -> list[str]:
    """Make every word that `least` texts hold and the tokenizer cuts into pieces a token of its own, and return these words.

    Their embeddings are drawn at random, as widely spread as the others: a denoiser learns what they mean, which it cannot from
    pieces that the tower never saw together. For a tower whose own texts were of something else.
    """
    import torch
    from transformers import AddedToken

    tokenizer, network = conditioner.tokenizer, conditioner.network
    counts = Counter(word for text in texts for word in set(_WORD.findall(text.lower())))
    pieces = {word: tokenizer.tokenize(f" {word}") for word, count in counts.items() if count >= least}
    words = sorted(word for word, cut in pieces.items() if len(cut) > 1 or tokenizer.unk_token in cut)
    known = len(tokenizer)
    tokenizer.add_tokens([AddedToken(word, single_word=True, lstrip=True, normalized=True) for word in words])
    spread = network.get_input_embeddings().weight[:known].std(0)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    drawn = torch.randn(len(tokenizer) - known, len(spread), generator=torch.Generator().manual_seed(0))
    network.get_input_embeddings().weight.data[known:] = drawn * spread
    network.eval().requires_grad_(False)
    return words


def of_t5(source: str, max_tokens: int) -> Conditioner:
    """The encoder of a T5 on the hub or in a folder."""
    from transformers import T5EncoderModel

    return Conditioner(load_network(T5EncoderModel, source, "a T5"), load_tokenizer(source), max_tokens)


def of_checkpoint(source: str, max_tokens: int) -> Conditioner:
    """The text tower of the CLIPModel, or the encoder of the T5, at `source`, as its config says."""
    from transformers import AutoConfig

    is_clip = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type == "clip"
    return of_clip(source, max_tokens) if is_clip else of_t5(source, max_tokens)
