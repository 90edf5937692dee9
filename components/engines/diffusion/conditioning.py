"""Texts as the denoiser is told them: token embeddings of a frozen text encoder, with a mask."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from components.engines.base.errors import UsageError
from components.engines.nn.checkpoints import load_network

log = logging.getLogger("genworks")
_T5 = ("t5", "umt5")  # whose attention looks both ways


class Conditioner:
    """A CLIPTextModel or T5EncoderModel (`network`) with its tokenizer. Texts are cut and padded to `max_tokens`.

    CLIP is given no mask, as Stable Diffusion gives it none: its attention looks back only, so padding changes nothing before it.
    T5's looks both ways and gets the mask, as in PixArt.
    """

    def __init__(self, network: Any, tokenizer: Any, max_tokens: int) -> None:
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer
        self.positions = getattr(network.config, "max_position_embeddings", None)  # of T5: any number
        self.max_tokens = min(max_tokens, self.positions or max_tokens)
        tokenizer.model_max_length = self.max_tokens  # plain diffusers reads it there

    @classmethod
    def load(cls, source: str | Path, max_tokens: int | None = None) -> Self:
        """From a hub id or folder with `text_encoder/` and `tokenizer/`; `max_tokens` by default as they were saved."""
        from transformers import AutoConfig, CLIPTextModel, T5EncoderModel, UMT5EncoderModel

        kinds = {"clip_text_model": CLIPTextModel, "t5": T5EncoderModel, "umt5": UMT5EncoderModel}
        try:
            kind = AutoConfig.from_pretrained(str(source), subfolder="text_encoder", trust_remote_code=False).model_type
            if kind not in kinds:
                raise ValueError(f"it is a {kind}, not one of {', '.join(kinds)}")
            network = load_network(kinds[kind], source, "a text encoder", subfolder="text_encoder")
            tokenizer = _load_tokenizer(source)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"Cannot load a text encoder: {str(error).strip().splitlines()[0]}",
                where=str(source),
                do="give a hub id or a folder with text_encoder/ (CLIPTextModel or T5EncoderModel, safetensors) and tokenizer/",
            ) from None
        return cls(network, tokenizer, max_tokens or tokenizer.model_max_length)

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "text_encoder", safe_serialization=True)
        self.tokenizer.save_pretrained(folder / "tokenizer")

    @property
    def width(self) -> int:
        """Of an embedding."""
        config = self.network.config
        return config.d_model if config.model_type in _T5 else config.hidden_size

    def tokens(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """Token ids and mask [n, max_tokens], int64."""
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return tokens["input_ids"], tokens["attention_mask"]

    def warn_of_cut(self, texts: Sequence[str], what: str) -> None:
        """Say how many of `texts`, which are `what`, are longer than `max_tokens`: the end of these is never read."""
        lengths = [len(ids) for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]
        cut = sum(length > self.max_tokens for length in lengths)
        if cut:
            more = "architecture.text.max_tokens" if self.max_tokens != self.positions else "text encoder than this one"
            counts = (
                f"{cut} of {len(texts)} {what} are cut after {self.max_tokens} tokens (the longest has {max(lengths)})"
            )
            log.warning(f"{counts}: shorten them, or train with a larger {more}")

    def embed(self, ids: Any, mask: Any) -> Any:
        """Embeddings [n, tokens, width], float32, of token ids and mask [n, tokens] on the network's device."""
        import torch

        given = {"attention_mask": mask} if self.network.config.model_type in _T5 else {}
        with torch.no_grad(), torch.autocast(ids.device.type, enabled=False):
            return self.network(ids, **given).last_hidden_state.float()

    def encode(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """Embeddings [n, max_tokens, width] and mask [n, max_tokens]; a text that comes again costs nothing."""
        import torch

        device = next(self.network.parameters()).device
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        ids, mask = (tensor.to(device) for tensor in self.tokens(list(place)))
        rows = torch.tensor([place[text] for text in texts], device=device)
        return self.embed(ids, mask)[rows], mask[rows]


def _load_tokenizer(source: str | Path) -> Any:
    """Files of a folder are read as they lie: for a subfolder AutoTokenizer would ask the hub about the folder above."""
    from transformers import AutoTokenizer

    folder = Path(source) / "tokenizer"
    if folder.is_dir():
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    return AutoTokenizer.from_pretrained(str(source), subfolder="tokenizer", trust_remote_code=False)
