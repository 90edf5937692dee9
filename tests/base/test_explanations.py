"""Failures of libraries in words a user can act on, from the errors that the libraries really raise."""

from __future__ import annotations

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.explanations import explain
from tests.base.test_full_disk import small_disk


def caught(action):
    with pytest.raises(Exception) as told:  # noqa: PT011 - which kind is the libraries' business
        action()
    return told.value


def unexplained(error):
    return "no explanation yet" in str(error)


def test_a_full_disk_in_safetensors(tmp_path):
    import torch
    from safetensors.torch import save_file

    with small_disk(tmp_path / "small", "64k"):
        told = explain(caught(lambda: save_file({"w": torch.zeros(100_000)}, tmp_path / "small/model.safetensors")))
    assert "The disk is full" in str(told)
    assert "free some space" in str(told)
    assert not unexplained(told)


def test_tensors_that_do_not_fit():
    import torch

    linear = torch.nn.Linear(3, 2)
    for action in (
        lambda: linear(torch.zeros(1, 4)),
        lambda: linear.load_state_dict({"weight": torch.zeros(5, 5), "bias": torch.zeros(2)}),
        lambda: torch.zeros(2, 3) + torch.zeros(2, 4),
        lambda: torch.zeros(6).view(4, 2),
    ):
        told = explain(caught(action))
        assert isinstance(told, StageError)
        assert "Tensors do not fit each other" in str(told), told
        assert "\n" not in str(told)


def test_damaged_weights(tmp_path):
    from safetensors.torch import load_file

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 100)
    assert "damaged or cut short" in str(explain(caught(lambda: load_file(path))))


def test_a_cause_explains_and_what_is_unknown_says_where():
    def wrapped():
        try:
            raise OSError(28, "No space left on device", "/data/x")
        except OSError as error:
            raise RuntimeError("worker failed") from error

    assert "The disk is full. Where: /data/x" in str(explain(caught(wrapped)))
    assert isinstance(explain(caught(b"\xff".decode)), UsageError)
    assert "Memory is full" in str(explain(MemoryError()))
    assert "lib" in str(explain(ModuleNotFoundError("No module named 'lib'", name="lib")))
    told = explain(caught(lambda: {}["nosuch"]))
    assert unexplained(told)
    assert "test_explanations.py:" in told.where
