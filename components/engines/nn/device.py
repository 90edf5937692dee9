"""Where networks run in this process: its GPU where there is one. The one place that decides it."""

from __future__ import annotations

from typing import Any


def own_device() -> Any:
    """The current GPU (a Ray worker sees those it holds and no others), else the CPU. A torch.device."""
    import torch

    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
