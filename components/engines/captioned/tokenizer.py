"""A tokenizer trained on captions, for every room that learns from captioned images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.engines.checks.stage import require_passed
from components.engines.language.bpe import Vocabulary, train_bpe

# The end token must not be number 2: CLIPTextModel takes `eos_token_id: 2` for an old checkpoint and pools elsewhere.
SPECIAL = {"pad_token": "<pad>", "bos_token": "<start>", "unk_token": "<unk>", "eos_token": "<end>"}


def write_tokenizer(params: Vocabulary, init_from: str | None, cleaned: Path, checked: Path, folder: Path) -> None:
    """Write a tokenizer folder that transformers' AutoTokenizer loads: the checkpoint's, or one trained on the captions."""
    require_passed(checked)
    if init_from:
        from components.engines.nn.checkpoints import load_tokenizer

        load_tokenizer(init_from).save_pretrained(folder)
    else:
        from components.engines.captioned.dataset import CaptionedImages

        learn_captions((one.caption for one in CaptionedImages(cleaned, "train")), params).save_pretrained(folder)


def learn_captions(captions: Iterator[str], params: Vocabulary) -> Any:
    """A tokenizer of transformers; sequences stand between a start and an end token, upper case is lost."""
    return train_bpe(captions, params, SPECIAL, single="<start> $A <end>", lowercase=True, strip=False)
