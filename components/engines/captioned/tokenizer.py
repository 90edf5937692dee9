"""A tokenizer trained on captions, for every room that learns from captioned images."""

from __future__ import annotations

from pathlib import Path

from components.engines.checks.stage import require_passed
from components.engines.language.bpe import Vocabulary, train_bpe

# The end token must not be number 2: CLIPTextModel takes `eos_token_id: 2` for an old checkpoint and pools elsewhere.
SPECIAL = {"pad_token": "<pad>", "bos_token": "<start>", "unk_token": "<unk>", "eos_token": "<end>"}


def write_tokenizer(params: Vocabulary, init_from: str | None, cleaned: Path, checked: Path, folder: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads: the checkpoint's, or one trained on the captions.

    Sequences of a trained one stand between a start and an end token.
    """
    require_passed(checked)
    if init_from:
        from components.engines.nn.checkpoints import load_tokenizer

        load_tokenizer(init_from).save_pretrained(folder)
    else:
        from components.engines.captioned.dataset import CaptionedImages

        captions = (one.caption for one in CaptionedImages(cleaned, "train"))
        trained = train_bpe(captions, params, SPECIAL, single="<start> $A <end>", lowercase=True, strip=False)
        trained.save_pretrained(folder)
