"""Keys and values of a text that grows and changes, kept from one call to the next: only what is new is computed."""

from __future__ import annotations

from itertools import takewhile
from typing import Any


class Prefix:
    """What a decoder-only model has read. `computed` counts the tokens that went through the network so far."""

    def __init__(self, model: Any) -> None:
        self.model, self.computed = model, 0
        self._ids: list[int] = []
        self._cache: Any = None
        self._logits: Any = None

    def read(self, ids: list[int]) -> Any:
        """The logits behind `ids` (at least one), [vocabulary]. What is shared with the ids read last is not computed again."""
        import torch
        from transformers import DynamicCache

        if ids == self._ids:
            return self._logits
        if self._cache is None:
            self._cache = DynamicCache(config=self.model.config)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._ids, ids, strict=False)))
        shared = min(shared, len(ids) - 1)  # logits are those of the last token
        if shared < len(self._ids):
            self._cache.crop(shared - len(self._ids))
        self._ids = ids[:shared]  # should the pass fail, the rest is read anew
        new = torch.tensor([ids[shared:]], device=self.model.device)
        seen = torch.ones(
            1, len(ids), dtype=torch.long, device=self.model.device
        )  # else it looks for padding each time
        logits = self.model(
            input_ids=new, attention_mask=seen, past_key_values=self._cache, use_cache=True, logits_to_keep=1
        ).logits
        self._ids, self._logits, self.computed = list(ids), logits[0, -1], self.computed + len(ids) - shared
        return self._logits

    def copies(self, count: int) -> Any:
        """A cache of `count` rows that goes on from here; what is written to it stays out of this one."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        for number, layer in enumerate(self._cache.layers):
            cache.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), number)
        return cache
