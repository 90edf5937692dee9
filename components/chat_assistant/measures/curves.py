"""What the curves of alignment say: where gold and learned reward part, how the KL grows, what became of the chosen answers."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

# Gold reward (of 3) that must be lost from its best before the two are said to have parted: about two standard errors of a
# mean over 128 answers.
PARTED = 0.15


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows without the cells that have nothing in them."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def ppo_figures(path: Path) -> dict[str, float]:
    """Of a run without training: nothing.

    `hacking_gap` is how much gold reward was lost since its best while the learned one went on rising, 0 where it did not;
    `parted_at` the step of that best where more than PARTED is lost, else the last step. `kl_slope` is in nats of an answer in
    100 steps.
    """
    rows = read_curve(path)
    measured = [row for row in rows if "learned_reward" in row]
    if not measured:
        return {}
    figures = {"kl_slope": _slope(measured, "measured_kl"), "learned_gain": _gain(measured, "learned_reward")}
    if "gold_reward" in measured[0]:
        best = max(measured, key=lambda row: row["gold_reward"])
        last = measured[-1]
        lost = best["gold_reward"] - last["gold_reward"] if last["learned_reward"] > best["learned_reward"] else 0.0
        figures |= {
            "hacking_gap": lost,
            "parted_at": best["step"] if lost > PARTED else last["step"],
            "gold_gain": _gain(measured, "gold_reward"),
        }
    return figures


def dpo_figures(path: Path) -> dict[str, float]:
    """Log-probabilities (nats an answer) of chosen and rejected validation answers at the end; the chosen one's lowest change."""
    measured = [row for row in read_curve(path) if "valid_chosen_logp" in row]
    if not measured:
        return {}
    last = measured[-1]
    return {
        "dpo_chosen_logp": last["valid_chosen_logp"],
        "dpo_rejected_logp": last["valid_rejected_logp"],
        "dpo_chosen_change": last["valid_chosen_change"],
        "dpo_chosen_floor": min(row["valid_chosen_change"] for row in measured),
        "dpo_accuracy": last["valid_accuracy"],
    }


def _slope(rows: list[dict[str, float]], name: str) -> float:
    steps = [row["step"] for row in rows]
    return float(100 * np.polyfit(steps, [row[name] for row in rows], 1)[0]) if len(rows) > 1 else 0.0


def _gain(rows: list[dict[str, float]], name: str) -> float:
    return rows[-1][name] - rows[0][name]
