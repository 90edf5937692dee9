"""Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) trained on the texts of a room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base.params import Params, Positive

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


class Vocabulary(Params):
    """How large the vocabulary is (a checkpoint brings its own)."""

    vocab_size: Annotated[int, Field(ge=300)] = 512
    min_frequency: Positive = 2


def train_bpe(
    texts: Iterator[str],
    params: Vocabulary,
    special: Mapping[str, str],
    *,
    single: str,
    pair: str | None = None,
    lowercase: bool = False,
    strip: bool = True,
    more: Sequence[str] = (),
    spaced: bool = True,
) -> Any:
    """A tokenizer of transformers, NFC-normalised, whose sequences stand in the template `single` ("$A </s>").

    `special` names its tokens as transformers calls them (pad_token …). `strip` takes the space off again that is put before a
    text's first word; not `spaced`, none is put there. `more` are further special tokens. Every byte is a token, so no text is
    unknown.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    fast = Tokenizer(models.BPE(unk_token=None))
    nfc = normalizers.NFC()
    fast.normalizer = normalizers.Sequence([nfc, normalizers.Lowercase()]) if lowercase else nfc
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    as_bytes = decoders.ByteLevel()
    fast.decoder = decoders.Sequence([as_bytes, decoders.Strip(" ", 1, 0)]) if strip else as_bytes
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        special_tokens=[*special.values(), *more],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    used = [(token, fast.token_to_id(token)) for token in special.values() if token in single.split()]
    templates = {"single": single} | ({"pair": pair} if pair else {})
    fast.post_processor = processors.TemplateProcessing(**templates, special_tokens=used)
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, **special, **({"extra_special_tokens": list(more)} if more else {})
    )


def write_tokenizer(
    params: Vocabulary,
    init_from: str | None,
    cleaned: Path,
    checked: Path,
    folder: Path,
    *,
    single: str,
    more: Sequence[str] = (),
    spaced: bool = True,
) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads: the checkpoint's, or one trained on `cleaned`.

    `more` and `spaced` as in `train_bpe`; a checkpoint's tokenizer gets those of `more` that it lacks, and a pad token of its
    own.
    """
    from components.engines.checks.stage import require_passed
    from components.engines.language.records import Records
    from components.engines.nn.checkpoints import load_tokenizer

    require_passed(checked)
    if init_from:
        given = load_tokenizer(init_from)
        add_marks(given, more)
        given.save_pretrained(folder)
    else:
        texts = (text for one in Records(cleaned, "train") for text in one.texts.values())
        train_bpe(texts, params, SPECIAL, single=single, strip=spaced, more=more, spaced=spaced).save_pretrained(folder)


def add_marks(given: Any, more: Sequence[str]) -> None:
    """Put those of `more` that it lacks into a checkpoint's tokenizer, and a pad token of its own."""
    if more:
        padding = {} if given.pad_token not in (None, given.eos_token) else {"pad_token": SPECIAL["pad_token"]}
        given.add_special_tokens({"extra_special_tokens": list(more), **padding})


def write_chat_tokenizer(params: Vocabulary, init_from: str | None, cleaned: Sequence[Path], folder: Path) -> Any:
    """Write, and return, a tokenizer with the marks and the template of engines/language/chat_tokens.py: the checkpoint's, or one
    trained on the records of all folders."""
    from components.engines.language.chat_tokens import MARKS, TEMPLATE
    from components.engines.language.records import Records
    from components.engines.nn.checkpoints import load_tokenizer

    if init_from:
        words = load_tokenizer(init_from)
        add_marks(words, MARKS)
    else:
        texts = (text for each in cleaned for one in Records(each, "train") for text in one.texts.values())
        words = train_bpe(texts, params, SPECIAL, single="<s> $A", more=MARKS, strip=False, spaced=False)
    words.chat_template = TEMPLATE
    words.save_pretrained(folder)
    return words
