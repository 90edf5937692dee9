"""The tokenizer: byte-level BPE trained on both languages, or the one of the checkpoint that training starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import StageError
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json
from components.translation.architecture import Architecture

SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>", "mask_token": "<mask>"}


class Tokenizer(Params):
    """Byte-level BPE over both languages (not trained when the architecture has `init_from`)."""

    vocab_size: Annotated[int, Field(ge=300)] = 1_600
    min_frequency: Positive = 2


def tokenizer(params: Tokenizer, architecture: Architecture, cleaned: Path, checked: Path, tokenizer: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads. Sequences end in eos; pad differs from eos."""
    if not read_json(checked)["success"]:
        raise StageError("The data checks failed, so nothing trains on these pairs", where=str(checked))
    if architecture.init_from:
        from components.translation.model import load_tokenizer

        load_tokenizer(architecture.init_from, architecture).save_pretrained(tokenizer)
        return
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    fast = Fast(models.BPE(unk_token=None))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    fast.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])  # the prefix space goes again
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(_sentences(cleaned), trainer)
    eos = SPECIAL["eos_token"]
    fast.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", pair=f"$A {eos} $B {eos}", special_tokens=[(eos, fast.token_to_id(eos))]
    )
    PreTrainedTokenizerFast(tokenizer_object=fast, **SPECIAL).save_pretrained(tokenizer)


def _sentences(cleaned: Path) -> Iterator[str]:
    from components.translation.pairs import Pairs

    for pair in Pairs(cleaned, "train"):
        yield pair.source
        yield pair.target


if __name__ == "__main__":
    stage.main(tokenizer)
