"""A tokenizer trained on captions, for every room that learns from captioned images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base.params import Params, Positive
from components.engines.captioned.validate import require_passed

# The end token must not be number 2: CLIPTextModel takes `eos_token_id: 2` for an old checkpoint and pools elsewhere.
SPECIAL = {"pad_token": "<pad>", "bos_token": "<start>", "unk_token": "<unk>", "eos_token": "<end>"}


class CaptionTokenizer(Params):
    """Byte-level BPE over the training captions (not trained when the architecture has `init_from`)."""

    vocab_size: Annotated[int, Field(ge=300)] = 512
    min_frequency: Positive = 2


def write_tokenizer(
    params: CaptionTokenizer, init_from: str | None, cleaned: Path, checked: Path, folder: Path
) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads: the checkpoint's, or one trained on the captions.

    Sequences of a trained one stand between a start and an end token.
    """
    require_passed(checked)
    if init_from:
        from components.engines.nn.checkpoints import load_tokenizer

        load_tokenizer(init_from).save_pretrained(folder)
    else:
        _trained(params, cleaned).save_pretrained(folder)


def _trained(params: CaptionTokenizer, cleaned: Path) -> Any:
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from components.engines.captioned.dataset import CaptionedImages

    fast = Fast(models.BPE(unk_token=None))
    fast.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator((one.caption for one in CaptionedImages(cleaned, "train")), trainer)
    start, end = SPECIAL["bos_token"], SPECIAL["eos_token"]
    fast.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, fast.token_to_id(token)) for token in (start, end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=fast, **SPECIAL)
