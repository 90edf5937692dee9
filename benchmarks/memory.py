"""What our loop's ways to save memory and time cost and bring: recomputed activations, bf16, checkpoints.

`python -m benchmarks.memory [--repeats N]`. Times are of loops that take turns (see turnstile.py), on one torch thread.
Memory is that of one step, in a process of its own: the highest resident set during the step, less that at its start.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training import SETTINGS, make_model, train
from benchmarks.turnstile import Loop, every, take_turns, torch_threads, typical
from components.engines.training.params import Training

CHECKPOINT_EVERY = 50
WARM_STEPS, STEPS_PER_REPEAT = 3, 2
# 8 layers of width 256 over 8 × 256 tokens: activations outweigh weights (5 M), and products are large enough for bf16
DEEP = {"length": 256, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8}
# wider layers over fewer tokens: nearly all of the time goes into products of about 512 × 512 × 1,536
WIDE = {"length": 64, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4}
SMALL_BATCH = SETTINGS.model_copy(update={"batch_size": 8})


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Every comparison: `ours` and `theirs`, the `ratio` with its range, and the `bar` where there is one."""
    make_model(lambda: None)  # imports are not safe in several threads at once
    with torch_threads(1):
        return [*recomputation(repeats), brain_float(repeats), checkpoints(repeats)]


def recomputation(repeats: int) -> list[dict[str, Any]]:
    """Memory and time of a step with gradient checkpointing, over those without: one pays for the other, hence no bar."""
    if "gradient_checkpointing" not in Training.model_fields:
        print("gradient checkpointing is left out: this engine has no such param", file=sys.stderr)
        return []
    modes = {mode: SMALL_BATCH.model_copy(update={"gradient_checkpointing": mode}) for mode in MODES}
    seconds = step_seconds(modes, DEEP, repeats)
    memory = {mode: [step_megabytes(mode)] for mode in modes} if Path("/proc/self/clear_refs").exists() else {}
    rows = []
    for mode in MODES[1:]:
        name = f"gradient checkpointing {mode} ÷ off"
        if memory:
            rows.append(row(f"{name}, memory of a step (MB)", memory[mode], memory["off"], None))
        rows.append(row(f"{name}, time of a step (s)", seconds[mode], seconds["off"], None))
    return rows


MODES = ("off", "selective", "full")


def step_megabytes(mode: str) -> float:
    """Of activations and gradients; every large tensor gets pages of its own, so that freed memory is seen to be free."""
    command = [sys.executable, "-m", "benchmarks.memory", "--memory-of", mode]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_step_megabytes(mode: str) -> None:
    """Runs in the process that is measured: its fourth step, when the optimiser's state is there."""
    marks: list[tuple[float, float]] = []

    def on_step() -> None:
        marks.append((resident("VmRSS"), resident("VmHWM")))
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts over: man 5 proc_pid_clear_refs

    train(SMALL_BATCH.model_copy(update={"gradient_checkpointing": mode, "max_steps": 6}), on_step, **DEEP)
    print(marks[4][1] - marks[3][0])


def resident(which: str) -> float:
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def brain_float(repeats: int) -> dict[str, Any]:
    """Steps per second in bf16 over fp32; the bar holds where the CPU multiplies bf16 itself."""
    seconds = step_seconds(
        {precision: SMALL_BATCH.model_copy(update={"precision": precision}) for precision in ("bf16", "fp32")},
        WIDE,
        repeats,
    )
    has = [name for name in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(name)]
    how = f" ({', '.join(has) or 'no bf16 instructions here'})"
    speeds = {name: [1 / value for value in values] for name, values in seconds.items()}
    return row(f"bf16 ÷ fp32{how}, steps/s", speeds["bf16"], speeds["fp32"], 1.3 if has else None)


def step_seconds(contenders: dict[str, Training], sizes: dict[str, int], repeats: int) -> dict[str, list[float]]:
    """Seconds of each step of each contender, the first WARM_STEPS left out."""
    steps = WARM_STEPS + repeats * STEPS_PER_REPEAT + 1

    def contender(settings: Training) -> Loop:
        settings = settings.model_copy(update={"max_steps": max(steps, settings.warmup_steps + 1)})
        return lambda on_step: train(settings, on_step, **sizes)

    turns = take_turns({name: contender(settings) for name, settings in contenders.items()})
    return {name: seconds[WARM_STEPS:] for name, seconds in turns.seconds.items()}


def checkpoints(repeats: int) -> dict[str, Any]:
    """Steps per second with a checkpoint every 50 steps over those without.

    They take turns of 50 steps, in which the checkpoint falls due after the first five: what is written in the
    background has 45 steps of its own loop to end in, and does not fall into the other's time.
    """
    first = CHECKPOINT_EVERY - 5
    steps = first + repeats * CHECKPOINT_EVERY + 1

    def contender(checkpoint_every: int) -> Loop:
        settings = SETTINGS.model_copy(update={"max_steps": steps, "checkpoint_every": checkpoint_every})
        return lambda step: train(settings, every(CHECKPOINT_EVERY, first, step))

    seconds = take_turns({"with": contender(CHECKPOINT_EVERY), "without": contender(steps + 1)}).seconds
    ours, theirs = (CHECKPOINT_EVERY / typical(seconds[name], repeats) for name in ("with", "without"))
    turns = {name: np.reshape(values, (repeats, -1)).sum(1) for name, values in seconds.items()}
    ratios = turns["without"] / turns["with"]
    return {
        "name": f"a checkpoint every {CHECKPOINT_EVERY} steps ÷ none, steps/s",
        "ours": ours,
        "theirs": theirs,
        "ratio": ours / theirs,
        "range": [float(ratios.min()), float(ratios.max())],
        "bar": 0.95,
    }


def row(name: str, ours: list[float], theirs: list[float], bar: float | None) -> dict[str, Any]:
    """Medians of both, and of the ratios of what was measured side by side."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        "name": name,
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "range": [min(ratios), max(ratios)],
        "bar": bar,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", choices=MODES, help="measure one step in this process and print its megabytes")
    arguments = parser.parse_args()
    if arguments.memory_of:
        print_step_megabytes(arguments.memory_of)
        return
    for figures in run(arguments.repeats):
        print("{name}: {ours:.4g} against {theirs:.4g}, ratio {ratio:.3f} {range} (bar {bar})".format(**figures))


if __name__ == "__main__":
    main()
