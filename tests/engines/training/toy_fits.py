"""Short ways for the tests to run the toy tasks, here or in another process."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file

from components.engines.base.paths import digest_path
from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.final import Fit
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

LIST_SCRIPT = str(Path(__file__).with_name("toy_layouts.py"))
SCRIPT = str(Path(__file__).with_name("toy_run.py"))
WORKER_SCRIPT = str(Path(__file__).with_name("toy_worker.py"))
GROUPS_SCRIPT = str(Path(__file__).with_name("toy_groups.py"))
BASE = {"max_steps": 24, "batch_size": 16, "learning_rate": 0.01, "num_threads": 1, "log_every": 4, "warmup_steps": 3}


def training(**changes: Any) -> Training:
    return Training(**{**BASE, **changes})


def maker(toy: str, **arguments: Any) -> partial:
    return partial(importlib.import_module(toy).make_task, **arguments)


def fit_here(
    toy: str, settings: Training, work: Path, observer: Any = None, stop_after: int | None = None, **arguments: Any
) -> Fit:
    """Fit in this process; with `stop_after` it is interrupted right after that step was saved."""
    ranks = Ranks.single(torch.device("cpu"))
    if stop_after is not None:
        with patch.object(store, "prune", partial(_interrupt, work, stop_after)):
            return fit(maker(toy, **arguments), settings, work=work, ranks=ranks)
    return fit(maker(toy, **arguments), settings, work=work, ranks=ranks, observer=observer)


def _interrupt(work: Path, stop_after: int, root: Path, newest: int, keep: Iterable[int | None]) -> None:
    if store.saved_steps(root)[-1] == stop_after:
        raise KeyboardInterrupt


def start(
    toy: str, settings: Training, work: Path, *, processes: int = 1, script: str = SCRIPT, **arguments: Any
) -> subprocess.Popen:
    run = [script, toy, json.dumps(arguments), settings.model_dump_json(), str(work)]
    command = torchrun(processes, *run) if processes > 1 else [sys.executable, *run]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def torchrun(processes: int, *run: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        *run,
    ]


Listed = tuple[str, dict[str, Any], Training, Path]  # module, arguments, settings, work


def start_list(processes: int, fits: list[Listed], folder: Path) -> subprocess.Popen:
    """All fits one after another in the same processes, which form a process group of their own."""
    listed = [[toy, arguments, settings.model_dump(mode="json"), str(work)] for toy, arguments, settings, work in fits]
    (folder / "fits.json").write_text(json.dumps(listed))
    command = torchrun(processes, LIST_SCRIPT, str(folder / "fits.json"))
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def run(processes: int, fits: list[Listed], folder: Path) -> None:
    process = start_list(processes, fits, folder)
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors[-6000:]


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def saved(work: Path, step: int, group: str) -> dict[str, torch.Tensor]:
    """The tensors of a group in a checkpoint."""
    found = store.read(work / "checkpoints", step)
    assert found is not None
    return found.whole(group)


def outcome(fitted: Fit) -> tuple[Any, ...]:
    """What two runs must agree on, bit for bit."""
    return fitted.step, fitted.curve, fitted.scores, digest_path(fitted.weights)


def assert_close(fitted: Fit, expected: Fit) -> None:
    """The same training up to the order of additions. Losses agree best; Adam blows up what is nearly zero."""
    assert len(fitted.curve) == len(expected.curve)
    for row, other in zip(fitted.curve, expected.curve, strict=True):
        losses = [name for name in other if name.endswith("loss")]
        assert [row[name] for name in losses] == pytest.approx([other[name] for name in losses], rel=5e-6)
        assert row == pytest.approx(other, rel=1e-4)
    for file in expected.weights.iterdir():
        ours, theirs = load_file(fitted.weights / file.name), load_file(file)
        # The loss does not depend on the keys' bias: its gradient is rounding noise, which Adam makes a full step of.
        names = [name for name in theirs if not name.endswith("in_proj_bias")]
        assert all(torch.allclose(ours[name], theirs[name], atol=2e-4) for name in names)
