"""A captioner whose encoder is a CNN: the grid of features as a sequence, cross-attended by BLIP's text decoder.

Xu et al. 2015 (arXiv:1502.03044) with a transformer for the recurrent decoder. No transformers class pairs a ResNet with a
text decoder, so this one does, with the interface of `BlipForConditionalGeneration`: only the encoders differ.
Legend: b batch, h × w cells of the grid, c channels, t tokens, v vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    BlipTextConfig,
    BlipTextLMHeadModel,
    PreTrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
)
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

STEM_STRIDE = 4  # of ResNet's first convolution and pooling together; every stage but the first halves once more


class GridCaptionerConfig(PreTrainedConfig):
    """`vision_config` of a ResNet, `text_config` of BLIP's decoder, `image_size` in pixels."""

    model_type = "grid_captioner"
    sub_configs = {"vision_config": ResNetConfig, "text_config": BlipTextConfig}  # noqa: RUF012 - as transformers has it

    def __init__(
        self,
        vision_config: dict[str, Any] | ResNetConfig | None = None,
        text_config: dict[str, Any] | BlipTextConfig | None = None,
        image_size: int = 224,
        **others: Any,
    ) -> None:
        self.vision_config = _as(ResNetConfig, vision_config)
        self.text_config = _as(BlipTextConfig, text_config)
        self.text_config.encoder_hidden_size = self.vision_config.hidden_sizes[-1]
        self.image_size = image_size
        super().__init__(**others)

    @property
    def side(self) -> int:
        """Cells along a side of the grid."""
        stride = STEM_STRIDE * 2 ** (len(self.vision_config.hidden_sizes) - 1)
        return -(-self.image_size // stride)


AutoConfig.register(GridCaptionerConfig.model_type, GridCaptionerConfig, exist_ok=True)


def _as(kind: Any, config: Any) -> Any:
    return config if isinstance(config, PreTrainedConfig) else kind(**(config or {}))


class GridCaptioner(PreTrainedModel):
    """pixel_values [b, 3, px, px], input_ids [b, t] -> logits [b, t, v]."""

    config_class = GridCaptionerConfig
    main_input_name = "pixel_values"
    _tied_weights_keys = {  # noqa: RUF012 - as BlipForConditionalGeneration has it
        "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
        "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    }

    def __init__(self, config: GridCaptionerConfig) -> None:
        super().__init__(config)
        self.vision_model = ResNetModel(config.vision_config)
        self.position_embedding = nn.Parameter(torch.zeros(1, config.side**2, config.vision_config.hidden_sizes[-1]))
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.text_decoder.get_input_embeddings()

    def encode(self, pixel_values: Tensor) -> Tensor:
        """The grid of features, flattened in reading order and told where they are. [b, h · w, c]"""
        grid = self.vision_model(pixel_values=pixel_values).last_hidden_state  # [b, c, h, w]
        return grid.flatten(2).transpose(1, 2) + self.position_embedding  # [b, h · w, c]

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> CausalLMOutputWithCrossAttentions:
        features = self.encode(pixel_values)
        return self.text_decoder(input_ids, attention_mask=attention_mask, encoder_hidden_states=features)
