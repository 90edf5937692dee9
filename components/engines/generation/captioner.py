"""Pictures -> captions, by a folder of a captioner: BLIP, or the CNN captioner of engines/nn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from components.engines.base.errors import UsageError
from components.engines.base.seeds import derive
from components.engines.generation.decoding import Decoding
from components.engines.generation.text import Generated, generate_about
from components.engines.nn.checkpoints import first_line, load_network, load_processor, load_tokenizer

Batch = dict[str, Tensor]


class ImageCaptioner:
    """A captioner network with its tokenizer and image processor."""

    def __init__(self, network: Any, tokenizer: Any, processor: Any) -> None:
        self.network, self.tokenizer, self.processor = network, tokenizer, processor
        config = network.config.text_config
        self.start, self.end, self.padding = config.bos_token_id, config.sep_token_id, config.pad_token_id
        tell_tokens(network)

    @classmethod
    def load(cls, folder: str | Path) -> ImageCaptioner:
        """From a hub id or a folder with a BlipForConditionalGeneration or a GridCaptioner, its tokenizer and image processor.

        Raises UsageError for what is neither, lacks weights, or has a tokenizer whose texts do not end as the decoder's do.
        """
        from transformers import BlipImageProcessorPil

        network = load_captioner(folder).eval()  # first: AutoTokenizer reads the config, and knows ours from then on
        tokenizer = load_tokenizer(folder)
        return cls(check_end(network, tokenizer, str(folder)), tokenizer, load_processor(BlipImageProcessorPil, folder))

    def to(self, device: Any) -> Self:
        self.network.to(device)
        return self

    def save(self, folder: Path) -> None:
        """A folder that `load` reads, and transformers' classes where the network is one of theirs (safetensors)."""
        self.network.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def pixels(self, pictures: Sequence[Any]) -> Tensor:
        """RGB pictures of any size -> [batch, 3, px, px]."""
        return self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]

    def tokens(self, captions: Sequence[str], max_tokens: int) -> Batch:
        """`input_ids`, `attention_mask` [batch, longest]: start token, words, end token; what is too long is cut before its end.

        BLIP's decoder starts from a token of its own, where its tokenizer puts BERT's [CLS].
        """
        longest = min(max_tokens, self.network.config.text_config.max_position_embeddings)
        encoded = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=longest, return_tensors="pt", padding_side="right"
        )
        encoded["input_ids"][:, 0] = self.start
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def features(self, pixel_values: Tensor) -> Tensor:
        """What the decoder attends to: [batch, tokens, width]."""
        if hasattr(self.network, "encode"):
            return self.network.encode(pixel_values)
        return self.network.vision_model(pixel_values=pixel_values).last_hidden_state

    @torch.inference_mode()
    def caption(
        self, pictures: Sequence[Any], decoding: Decoding, *, batch_size: int = 32, seed: int = 0, scored: bool = True
    ) -> list[Generated]:
        """Captions of PIL pictures in their order (`text`, and `score`: mean log-probability of its tokens).

        With `num_return_sequences` n, n in a row for each picture. Encodes `batch_size` pictures at a time.
        """
        found: list[Generated] = []
        self.network.eval()
        device = next(self.network.parameters()).device
        for start in range(0, len(pictures), batch_size):
            features = self.features(self.pixels(pictures[start : start + batch_size]).to(device))
            found += generate_about(
                self.network.text_decoder,
                self.tokenizer,
                features,
                decoding,
                seeds=[derive(seed, "picture", start + number) for number in range(len(features))],
                batch_size=batch_size,
                scored=scored,
            )
        return found


def load_captioner(folder: str | Path) -> Any:
    """The network of a hub id or folder, of the class that its config names."""
    from transformers import AutoConfig, BlipConfig, BlipForConditionalGeneration

    from components.engines.nn.grid_captioner import GridCaptioner, GridCaptionerConfig

    kinds = {BlipConfig: BlipForConditionalGeneration, GridCaptionerConfig: GridCaptioner}
    try:
        told = type(AutoConfig.from_pretrained(str(folder), trust_remote_code=False))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a captioner: {first_line(error)}",
            where=str(folder),
            do="give a hub id or a checkpoint's folder",
        ) from None
    if told not in kinds:
        raise UsageError(
            f"Cannot load a captioner from a checkpoint with a {told.__name__}",
            where=str(folder),
            do=f"give one of a {' or a '.join(kind.__name__ for kind in kinds.values())}",
        )
    return load_network(kinds[told], folder, "a captioner")


def tell_tokens(network: Any) -> None:
    """Say to the decoder where captions start and end: BLIP's own `generate` passes these on from the config every time."""
    config, known = network.config.text_config, network.text_decoder.generation_config
    known.bos_token_id, known.eos_token_id, known.pad_token_id = (
        config.bos_token_id,
        config.sep_token_id,
        config.pad_token_id,
    )


def check_end(network: Any, tokenizer: Any, where: str) -> Any:
    """Refuse a tokenizer whose texts end in another token than the decoder's captions: no caption would ever end."""
    ids = tokenizer("a")["input_ids"]
    end = network.config.text_config.sep_token_id
    if len(ids) < 3 or ids[-1] != end:
        raise UsageError(
            f"Captions end in token {end}, but the tokenizer's texts are {ids}",
            where=where,
            do="set text_config.sep_token_id to the token that the tokenizer puts at the end of texts",
        )
    return network
