"""The tokenizer: byte-level BPE trained on the captions, or the one of the checkpoint that training starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.clip.architecture import Architecture
from components.engines.base import stage
from components.engines.base.errors import StageError
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json

# The end token must not be number 2: CLIPTextModel takes `eos_token_id: 2` for an old checkpoint and pools elsewhere.
SPECIAL = {"pad_token": "<pad>", "bos_token": "<start>", "unk_token": "<unk>", "eos_token": "<end>"}


class Tokenizer(Params):
    """Byte-level BPE over the training captions (not trained when the architecture has `init_from`)."""

    vocab_size: Annotated[int, Field(ge=300)] = 512
    min_frequency: Positive = 2


def tokenizer(params: Tokenizer, architecture: Architecture, cleaned: Path, checked: Path, tokenizer: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads. Sequences stand between a start and an end token."""
    if not read_json(checked)["success"]:
        raise StageError("The data checks failed, so nothing trains on these images", where=str(checked))
    if architecture.init_from:
        from components.engines.scoring.embedder import load_tokenizer

        load_tokenizer(architecture.init_from).save_pretrained(tokenizer)
        return
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
    PreTrainedTokenizerFast(tokenizer_object=fast, **SPECIAL).save_pretrained(tokenizer)


if __name__ == "__main__":
    stage.main(tokenizer)
