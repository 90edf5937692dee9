"""What a step was made of when its figures were not finite: `<work>/dump-step-XXXXXXXX/`, to be looked at.

rank-<r>.safetensors     that data rank's micro-batches, as `<number>.<name>`
dump.json                the samples' numbers, figures, settings, world size, the checkpoint the run stood on; written last
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from components.engines.base.errors import StageError, explain_os_error
from components.engines.base.paths import atomic_write, remove, write_json
from components.engines.training.batches import StepBatches, sample_order
from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.weights import write_tensors
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.run import Run
from components.engines.training.state import Row

DUMP = "dump.json"


def reads_before_move(ranks: Ranks) -> bool:
    """Where looking at a loss costs nothing: no device to wait for, no other rank to ask."""
    return ranks.world == 1 and ranks.device.type == "cpu"


def require_finite(run: Run, batches: StepBatches, figures: Row | dict[str, Tensor]) -> None:
    """Stop the run, its step dumped, if a figure is NaN or infinite."""
    row = {name: float(value) for name, value in figures.items()}
    wrong = {name: value for name, value in row.items() if not math.isfinite(value)}
    if not wrong:
        return
    run.saver.wait()
    saved = store.saved_steps(run.checkpoints)
    kept = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
    base = store.folder_of(run.checkpoints, saved[-1]) if saved else None
    dumped = write_dump(run, batches, row, base)
    raise StageError(
        f"Training stopped at step {batches.step + 1}, turn '{_turn_of(run, min(wrong))}': "
        f"{', '.join(f'{name} is {value}' for name, value in sorted(wrong.items()))}; {kept}; {dumped}",
        where=str(run.work),
        do="lower learning_rate, set clip_norm or warmup_steps, try precision fp32, or look for bad samples",
    )


def _turn_of(run: Run, figure: str) -> str:
    names = [player.turn.name for player in run.players]
    return names[0] if len(names) == 1 else max((n for n in names if figure.startswith(f"{n}_")), key=len)


def write_dump(run: Run, batches: StepBatches, figures: Row, base: Path | None) -> str:
    """Write this rank's part of a dump. Every rank calls it. Returns where it is, or why it is not, in words.

    A dump that fails must not hide the failure it is of.
    """
    ranks, folder = run.ranks, run.work / f"dump-step-{batches.step + 1:08d}"  # named as checkpoints are
    about = {
        "step": batches.step,
        "samples": sample_order(run.task, run.training).step(batches.step).tolist(),
        "figures": {name: repr(value) for name, value in figures.items()},  # JSON has no NaN
        "world": ranks.data_world,
        "settings": run.training.identity(),
        "checkpoint": str(base.relative_to(run.work)) if base is not None else None,
    }
    problem = _tried(lambda: _write_share(folder, batches, ranks))
    ranks.barrier()
    if ranks.is_first and not problem:
        problem = _tried(lambda: write_json(folder / DUMP, about))
    ranks.barrier()  # the first rank to leave with an error ends the others
    return f"the step could not be dumped ({problem})" if problem else f"its batches are in {folder}"


def _tried(write: Callable[[], None]) -> str:
    """What went wrong, or nothing."""
    try:
        write()
    except OSError as error:
        return str(explain_os_error(error))
    return ""


def _write_share(folder: Path, batches: StepBatches, ranks: Ranks) -> None:
    if ranks.is_first:
        remove(folder / DUMP)  # of an earlier attempt, which stopped at the same step
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.leads_peers:
        tensors = {
            f"{number}.{name}": t for number, batch in enumerate(batches.micro_batches) for name, t in batch.items()
        }
        with atomic_write(folder / f"rank-{ranks.data_rank}.safetensors") as partial:
            write_tensors(partial, tensors)
