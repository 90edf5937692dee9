"""Position of a grid's cells as a table added to their features: over the sequence or over rows and columns, learnt or fixed.

Dosovitskiy et al. 2020 (arXiv:2010.11929, App. D.4: 1-D and 2-D learnt), Vaswani et al. 2017 (sine and cosine), Carion et al.
2020 (arXiv:2005.12872: half of the width for rows, half for columns).
Legend: r rows, c columns, n = r · c cells in reading order, d width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Positions = Literal["1d-learned", "1d-fixed", "2d-learned", "2d-fixed"]

_SCALE = 0.02  # standard deviation of learnt entries at the start, as in ViT


def sinusoids(count: int, width: int) -> Tensor:
    """Vaswani et al. 2017, § 3.5, for positions 0 … count - 1: sines in the first half, cosines in the second. [count, d]"""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2) / width)  # [⌈d/2⌉]
    angles = torch.arange(count)[:, None] * frequencies  # [count, ⌈d/2⌉]
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width]


def fixed_table(rows: int, columns: int, width: int, *, per_axis: bool) -> Tensor:
    """Sinusoids over the sequence of cells, or (`per_axis`) of the row beside those of the column. [n, d]"""
    if not per_axis:
        return sinusoids(rows * columns, width)
    of_rows = sinusoids(rows, width // 2).repeat_interleave(columns, 0)  # [n, ⌊d/2⌋]
    of_columns = sinusoids(columns, width - width // 2).repeat(rows, 1)  # [n, ⌈d/2⌉]
    return torch.cat([of_rows, of_columns], 1)


def set_positions(module: nn.Module, name: str, positions: Positions, rows: int, columns: int) -> None:
    """Make the parameter `name` of `module`, [1, k + n, d], a table of these positions.

    k tokens before the cells (a class token) keep a learnt row each. A fixed table is a parameter without gradient; a learnt
    one over two axes is computed from its rows and columns at every use, until `bake_positions`.
    """
    table = getattr(module, name)
    before = table.shape[1] - rows * columns
    with torch.no_grad():
        nn.init.trunc_normal_(table, std=_SCALE)
        if positions.endswith("fixed"):
            fixed = fixed_table(rows, columns, table.shape[2], per_axis=positions.startswith("2d"))
            table[:, before:] = fixed
            table[:, :before] = 0.0
            table.requires_grad_(False)
    if positions == "2d-learned":
        parametrize.register_parametrization(module, name, RowsAndColumns(before, rows, columns))


def bake_positions(network: nn.Module) -> nn.Module:
    """Leave plain tables behind, so that what is saved loads where nobody knows how they came about."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return network


class RowsAndColumns(nn.Module):
    """A table [1, k + n, d] whose cell (i, j) is row vector i plus column vector j; the first k entries are their own."""

    def __init__(self, before: int, rows: int, columns: int) -> None:
        super().__init__()
        self.before, self.rows, self.columns = before, rows, columns

    def forward(self, first: Tensor, of_rows: Tensor, of_columns: Tensor) -> Tensor:
        cells = (of_rows[:, None] + of_columns[None]).flatten(0, 1)  # [n, d]
        return torch.cat([first, cells])[None]  # [1, k + n, d]

    def right_inverse(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest such table in the sense of least squares: means over the other axis."""
        cells = table[0, self.before :].unflatten(0, (self.rows, self.columns))  # [r, c, d]
        of_rows = cells.mean(1)
        return table[0, : self.before].clone(), of_rows, cells.mean(0) - of_rows.mean(0)
