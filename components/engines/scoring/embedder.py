"""Pictures and texts -> unit vectors in one space, by a CLIPModel: for relevance filters, CLIPScore, retrieval, safety."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.errors import UsageError
from components.engines.images.squares import Squares
from components.engines.nn.checkpoints import load_network, load_processor, load_tokenizer

Batch = dict[str, Tensor]

_LEGACY_END = 2  # CLIPTextModel pools at the highest token number instead of the end token if eos_token_id is this


class Embedder:
    """A CLIPModel with its tokenizer and image processor."""

    def __init__(self, network: Any, tokenizer: Any, processor: Any, max_tokens: int | None = None) -> None:
        self.network, self.tokenizer, self.processor = network, tokenizer, processor
        self.squares = Squares(processor)
        positions = network.config.text_config.max_position_embeddings
        self.max_tokens = min(max_tokens or positions, positions)

    @classmethod
    def load(cls, folder: str | Path, max_tokens: int | None = None) -> Embedder:
        """From a hub id or a folder with a CLIPModel, its tokenizer and its image processor. Raises UsageError."""
        tokenizer = load_tokenizer(folder)
        network = load_clip(folder, tokenizer).eval()
        return cls(network, tokenizer, load_clip_processor(folder), max_tokens)

    def to(self, device: Any) -> Self:
        self.network.to(device)
        return self

    def save(self, folder: Path) -> None:
        """A folder that transformers' CLIPModel and CLIPProcessor load (safetensors)."""
        self.network.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def pixels(self, pictures: Sequence[Any]) -> Tensor:
        """RGB pictures of any size -> [batch, 3, px, px]."""
        if pictures and all(self.squares.take(picture) for picture in pictures):
            return self.squares.pixels(pictures)
        return self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]

    def tokens(self, texts: Sequence[str]) -> Batch:
        """`input_ids`, `attention_mask` [batch, longest]; a text that is too long is cut and keeps its end token."""
        encoded = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def image_vectors(self, pixel_values: Tensor) -> Tensor:
        """[batch, embedding_dim], of length 1."""
        return functional.normalize(self.network.get_image_features(pixel_values=pixel_values).pooler_output, dim=-1)

    def text_vectors(self, tokens: Batch) -> Tensor:
        """[batch, embedding_dim], of length 1."""
        features = self.network.get_text_features(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        )
        return functional.normalize(features.pooler_output, dim=-1)

    @torch.inference_mode()
    def embed_images(self, pictures: Sequence[Any], batch_size: int = 64) -> Tensor:
        """[pictures, embedding_dim] on the CPU."""
        pieces = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
        return torch.cat([self.image_vectors(self.pixels(piece).to(self.device)).float().cpu() for piece in pieces])

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """[texts, embedding_dim] on the CPU."""
        pieces = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
        return torch.cat([self.text_vectors(self._on_device(self.tokens(piece))).float().cpu() for piece in pieces])

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _on_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.device) for name, tensor in batch.items()}


def load_clip(folder: str | Path, tokenizer: Any) -> Any:
    """A CLIPModel from a hub id or folder; safetensors only, no code from the checkpoint."""
    from transformers import CLIPModel

    return pooling_at_the_end(load_network(CLIPModel, folder, "a CLIP model"), tokenizer, str(folder))


def pooling_at_the_end(network: Any, tokenizer: Any, where: str) -> Any:
    """Refuse a text encoder that would not read its embedding off the end token (AUC .61 instead of .99, without an error)."""
    told, end = network.config.text_config.eos_token_id, tokenizer.eos_token_id
    # The legacy pooling finds the end token all the same where that has the highest number, as OpenAI's checkpoints have it.
    finds_end = end == len(tokenizer) - 1 if told == _LEGACY_END else end == told
    if not finds_end:
        raise UsageError(
            f"The text encoder pools at token {told}, but texts end in token {end} of {len(tokenizer)}",
            where=where,
            do="set text_config.eos_token_id to the tokenizer's end token, which must not be number 2",
        )
    return network


def load_clip_processor(folder: str | Path) -> Any:
    """The image processor of a CLIP checkpoint, on Pillow whatever is installed: equal pixels on every machine."""
    from transformers import CLIPImageProcessorPil

    return load_processor(CLIPImageProcessorPil, folder)
