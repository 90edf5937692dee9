"""Loss spikes: go back to the last checkpoint and skip the batches that led to the spike.

The recipe of PaLM (Chowdhery et al., arXiv:2204.02311 § 5.1): restarted from a checkpoint before the spike, without the
batches seen before and during it, the run does not spike there again, though those batches do no harm at another state.

Everything here is a pure function of params, data and state, so that a resumed run skips what an uninterrupted one
skips. The checkpoint to go back to is that of the last multiple of `checkpoint_every` before the spike (one that a stopped
run saved in between does not count), and the batches skipped are those from there to the spike, whenever it was
noticed. Skipping shifts the data of all later steps; learning rates and random draws stay with their steps.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable
from pathlib import Path

from components.engines.base.errors import StageError
from components.engines.training import checkpoint
from components.engines.training.params import Training
from components.engines.training.ranks import Ranks
from components.engines.training.state import Row, State

log = logging.getLogger("genworks")


class Spiked(Exception):
    """Carries a spike from where it is seen to the loop, which goes back; no user meets it."""

    def __init__(self, step: int, turn: str, loss: float, median: float) -> None:
        super().__init__(f"loss spike in step {step + 1}, turn '{turn}': {loss:.6g} after a median of {median:.6g}")
        self.step = step


def anchor_of(training: Training, step: int) -> int:
    """Finished steps of the checkpoint that a spike in step `step` (from 0) goes back to; 0: there is none yet."""
    return step // training.checkpoint_every * training.checkpoint_every


def checkpoints_kept(training: Training, state: State) -> list[int | None]:
    """Checkpoints that must outlive the pruning now: the one to go back to, and the best one that it knows of.

    Called before the state is saved, which notes that best one.
    """
    if training.spike is None:
        return []
    anchor = anchor_of(training, state.step)
    if state.step == anchor:
        state.best_at_anchor = state.best_step
    return [anchor, state.best_at_anchor]


def judge(training: Training, state: State, step: int, figures: Row, turns: Iterable[str]) -> None:
    """Raise Spiked if the loss of step `step` (from 0) is one for any turn; otherwise remember the losses.

    Judged only with a whole window behind it and a checkpoint to go back to, and against a positive median: a multiple
    of a loss at or below zero means nothing.
    """
    if training.spike is None:
        return
    losses = {turn: figures[f"{turn}_loss"] for turn in turns}
    for turn, loss in losses.items():
        recent = state.losses.get(turn, [])
        if len(recent) < training.spike.window or anchor_of(training, step) == 0:
            continue
        median = statistics.median(recent)
        if median > 0 and loss > training.spike.factor * median:
            raise Spiked(step, turn, loss, median)
    for turn, loss in losses.items():
        state.losses[turn] = [*state.losses.get(turn, []), loss][-training.spike.window :]


def base(training: Training, before: State, root: Path, ranks: Ranks, spiked: Spiked) -> checkpoint.Checkpoint:
    """The checkpoint to go back to, the same on every rank: the anchor's, or if that is damaged one before it.

    Raises StageError when there is none, or no rewind is left.
    """
    assert training.spike is not None
    rewind, limit = before.rewinds + 1, training.spike.max_rewinds
    if rewind > limit:
        raise StageError(
            f"Training stopped at a {spiked}; all {limit} rewinds were used up before",
            where=str(root),
            do="lower learning_rate or clip_norm, look at the data there, or raise spike.max_rewinds",
        )
    found = ranks.broadcast(_newest(training, root, spiked) if ranks.is_first else None)
    if found is None:
        raise StageError(f"No sound checkpoint is left to go back to from a {spiked}", where=str(root))
    if ranks.is_first:
        log.warning("Rewind %d of %d: %s; back to %s, skipping the batches since", rewind, limit, spiked, found.path)
    return found


def _newest(training: Training, root: Path, spiked: Spiked) -> checkpoint.Checkpoint | None:
    for step in range(anchor_of(training, spiked.step), 0, -training.checkpoint_every):
        if checkpoint.folder_of(root, step).exists():
            found = checkpoint.read(root, step)
            if found is not None:
                return found
    return None


def skip(before: State, after: State, spiked: Spiked) -> None:
    """Write into the state gone back to, `after`, what of the one left behind must outlast it."""
    after.rewinds = before.rewinds + 1
    after.skipped_steps = before.skipped_steps + spiked.step + 1 - after.step
