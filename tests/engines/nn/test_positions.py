"""Tables of positions: what fixed ones hold, how learnt ones over two axes are made and left behind."""

import pytest
import torch
from torch import nn

from components.engines.nn.positions import bake_positions, fixed_table, set_positions, sinusoids


class Holder(nn.Module):
    def __init__(self, rows, columns, before=1, width=8):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, before + rows * columns, width))


def test_sinusoids_are_those_of_the_paper():
    table = sinusoids(50, 6)
    for place, at in ((3, 0), (41, 2)):
        angle = torch.tensor(place / 10_000 ** (2 * at / 6))
        assert table[place, at] == pytest.approx(float(angle.sin()), abs=1e-5)
        assert table[place, 3 + at] == pytest.approx(float(angle.cos()), abs=1e-5)
    assert sinusoids(4, 5).shape == (4, 5)
    assert len(sinusoids(64, 8).unique(dim=0)) == 64


def test_a_table_over_two_axes_tells_rows_from_columns_and_one_over_the_sequence_does_not():
    grid = fixed_table(3, 5, 9, per_axis=True).unflatten(0, (3, 5))
    assert torch.equal(grid[:, 0, :4], grid[:, 4, :4])
    assert torch.equal(grid[0, :, 4:], grid[2, :, 4:])
    assert len(grid.flatten(0, 1).unique(dim=0)) == 15
    assert torch.equal(fixed_table(3, 5, 8, per_axis=False), sinusoids(15, 8))


@pytest.mark.parametrize("positions", ["1d-fixed", "2d-fixed"])
def test_a_fixed_table_gets_no_gradient(positions):
    holder = Holder(3, 4)
    set_positions(holder, "table", positions, 3, 4)
    assert [p.requires_grad for p in holder.parameters()] == [False]
    assert not holder.table[:, :1].any()
    assert torch.equal(holder.table[0, 1:], fixed_table(3, 4, 8, per_axis=positions == "2d-fixed"))


def test_a_learnt_table_over_two_axes_has_a_row_per_row_and_column_and_is_left_behind_whole():
    holder = Holder(3, 4, before=2)
    set_positions(holder, "table", "2d-learned", 3, 4)
    assert sorted(tuple(p.shape) for p in holder.parameters()) == [(2, 8), (3, 8), (4, 8)]
    optimizer = torch.optim.SGD(holder.parameters(), 0.5)
    wanted = torch.randn(3, 1, 8) + torch.randn(1, 4, 8)
    for _ in range(200):
        optimizer.zero_grad()
        (holder.table[0, 2:].unflatten(0, (3, 4)) - wanted).square().sum(-1).mean().backward()
        optimizer.step()
    before = holder.table.detach().clone()
    assert torch.allclose(before[0, 2:].unflatten(0, (3, 4)), wanted, atol=1e-3)
    bake_positions(holder)
    assert list(holder.state_dict()) == ["table"]
    assert torch.equal(holder.table, before)
