"""The repeated blocks of a network: what is sharded, checkpointed and spread over pipeline stages one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Chain:
    """A list of like blocks that a network runs one after the other (the layers of an encoder, of a decoder, of a DiT)."""

    name: str
    blocks: nn.ModuleList


def chains_of(network: nn.Module) -> list[Chain]:
    """The outermost lists of two or more blocks of one class, in order of registration, which is that of execution."""
    found: list[Chain] = []
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{chain.name}.") for chain in found)
        if not inside and _is_chain(module):
            assert isinstance(module, nn.ModuleList)
            found.append(Chain(name, module))
    return found


def _is_chain(module: nn.Module) -> bool:
    if not isinstance(module, nn.ModuleList) or len(module) < 2:
        return False
    kinds = {type(block) for block in module}
    return len(kinds) == 1 and any(True for _ in module[0].parameters())


def repeated_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The entries of lists that hold another of the same class, outermost ones: also those of a U-Net's uneven lists."""
    kinds = Counter(type(entry) for entry in network.children()) if isinstance(network, nn.ModuleList) else Counter()
    for entry in network.children():
        if kinds[type(entry)] > 1:
            yield entry
        else:
            yield from repeated_blocks(entry)
