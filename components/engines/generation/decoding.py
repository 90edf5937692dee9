"""How text is decoded: typed params over transformers' `generate`, refused early where they contradict each other."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from components.engines.base.errors import UsageError
from components.engines.base.params import Params

# Which keys mean something under which strategies only.
_ONLY = {
    "num_beams": ("beam",),
    "length_penalty": ("beam",),
    "early_stopping": ("beam",),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "num_return_sequences": ("beam", "sample"),
}
# Limits that follow the input's length are rounded up to this, so that inputs of similar length share a batch.
_LIMIT_STEP = 8
# What a checkpoint's own generation config may say that is no strategy: which tokens there are, and which may not be written.
_CHECKPOINT_KEYS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
)


class Decoding(Params):
    """One decoding strategy. A key that its strategy ignores is an error, not a surprise.

    beam: `num_beams` hypotheses scored by sum of log-probabilities ÷ length^`length_penalty`; `early_stopping` ends as soon as
    `num_beams` are finished. sample: `temperature`, then the `top_k` likeliest tokens, then the smallest set with probability
    `top_p` (Holtzman et al. 2020). `repetition_penalty` (Keskar et al. 2019) and `no_repeat_ngram_size` serve all strategies.
    The output ends after `max_new_tokens`, or `max_length_ratio` × input tokens (rounded up to a multiple of 8) if less.
    """

    strategy: Literal["greedy", "beam", "sample"] = "greedy"
    num_beams: int | None = Field(None, ge=1, le=64)
    length_penalty: float | None = None
    early_stopping: bool | None = None
    temperature: float | None = Field(None, gt=0)
    top_k: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    no_repeat_ngram_size: int = Field(0, ge=0)
    max_new_tokens: int = Field(128, ge=1)
    max_length_ratio: float | None = Field(None, gt=0)
    num_return_sequences: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Decoding:
        for key, strategies in _ONLY.items():
            set_to = getattr(self, key)
            if (
                set_to is not None
                and set_to != type(self).model_fields[key].default
                and self.strategy not in strategies
            ):
                raise ValueError(
                    f"{key} means nothing with strategy '{self.strategy}', only with {' and '.join(strategies)}"
                )
        if self.strategy == "beam" and self.num_return_sequences > self.beams:
            raise ValueError(f"num_return_sequences {self.num_return_sequences} is more than num_beams {self.beams}")
        return self

    def changed(self, options: dict[str, Any]) -> Decoding:
        """This decoding with some of its keys changed for one call. Raises UsageError for what does not go together."""
        try:
            return type(self)(**{**self.model_dump(), **options})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise UsageError(f"Decoding option {key or 'set'}: {first['msg']}", do="change it for this call") from None

    @property
    def beams(self) -> int:
        """Hypotheses kept while searching: `num_beams` (4 unless set) for beam search, else 1."""
        return (self.num_beams or 4) if self.strategy == "beam" else 1

    def limit(self, num_input_tokens: int) -> int:
        """How many new tokens an input of this length may get."""
        if self.max_length_ratio is None:
            return self.max_new_tokens
        steps = math.ceil(self.max_length_ratio * max(num_input_tokens, 1) / _LIMIT_STEP)
        return min(self.max_new_tokens, steps * _LIMIT_STEP)


def to_generation_config(decoding: Decoding, model: Any, *, max_new_tokens: int | None = None) -> Any:
    """A transformers GenerationConfig: strategy and limits from `decoding` alone, token ids from the checkpoint.

    Sampling is done by generation/sampling.py, so `do_sample` stays off. transformers fills what is unset here from the model's
    own generation config: run it on a model without one (`neutral`).
    """
    from transformers import GenerationConfig

    known = {key: getattr(model.generation_config, key, None) for key in _CHECKPOINT_KEYS}
    return GenerationConfig(
        **{key: value for key, value in known.items() if value is not None},
        do_sample=False,
        num_beams=decoding.beams,
        num_return_sequences=decoding.num_return_sequences if decoding.strategy == "beam" else 1,
        length_penalty=1.0 if decoding.length_penalty is None else decoding.length_penalty,
        early_stopping=bool(decoding.early_stopping),
        repetition_penalty=decoding.repetition_penalty,
        no_repeat_ngram_size=decoding.no_repeat_ngram_size,
        max_new_tokens=max_new_tokens or decoding.max_new_tokens,
        use_cache=True,
        return_dict_in_generate=True,
    )


def neutral(model: Any) -> Any:
    """The same model (parameters shared) without its checkpoint's opinions on decoding.

    Else Marian's beams and max_length or a chat model's temperature would come through where a GenerationConfig is silent.
    """
    from transformers import GenerationConfig

    twin = copy.copy(model)
    twin.generation_config = GenerationConfig()
    return twin
