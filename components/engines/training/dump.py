"""What a step was made of when its figures were not finite: `<work>/dump-step-XXXXXXXX/`, for `replay.replay`.

    rank-<r>.safetensors     that data rank's micro-batches, as `<number>.<name>`
    <module>.safetensors     the weights as the loss saw them, where they could be had (`weights: before`)
    dump.json                figures, settings, world size, the checkpoint the run stood on; written last

One process on a CPU looks at each loss before the optimiser moves and so has the weights. Several ranks, and a GPU, read
figures only now and then, when a loss that is not finite has long spoilt the weights; and the norm of the gradients is
read after the move everywhere. Those dumps hold no weights (`weights: checkpoint`): replay takes the checkpoint's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from components.engines.base.errors import StageError, explain_os_error
from components.engines.base.paths import atomic_write, read_json, remove, write_json
from components.engines.training import checkpoint
from components.engines.training.batches import StepBatches
from components.engines.training.params import Training
from components.engines.training.ranks import Ranks
from components.engines.training.state import Row
from components.engines.training.task import Batch
from components.engines.training.weights import Tensors, module_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from components.engines.training.run import Run

DUMP = "dump.json"


def reads_before_move(ranks: Ranks) -> bool:
    """Where looking at a loss costs nothing: no device to wait for, no other rank to ask."""
    return ranks.world == 1 and ranks.device.type == "cpu"


def require_finite(run: Run, batches: StepBatches, figures: Row | dict[str, Tensor], *, moved: bool) -> None:
    """Stop the run, its step dumped, if a figure is NaN or infinite. `moved`: the weights are past this step."""
    row = {name: float(value) for name, value in figures.items()}
    wrong = {name: value for name, value in row.items() if not math.isfinite(value)}
    if not wrong:
        return
    run.saver.wait()
    saved = checkpoint.saved_steps(run.checkpoints)
    kept = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
    base = checkpoint.folder_of(run.checkpoints, saved[-1]) if saved else None
    modules = None if moved else run.task.modules
    dumped = write_dump(run.work, batches, row, run.training, run.ranks, base, modules)
    raise StageError(
        f"Training stopped at step {batches.step + 1}, turn '{_turn_of(run, min(wrong))}': "
        f"{', '.join(f'{name} is {value}' for name, value in sorted(wrong.items()))}; {kept}; {dumped}",
        where=str(run.work),
        do="lower learning_rate, set clip_norm or warmup_steps, try precision fp32, or look for bad samples",
    )


def _turn_of(run: Run, figure: str) -> str:
    names = [player.turn.name for player in run.players]
    return names[0] if len(names) == 1 else max((n for n in names if figure.startswith(f"{n}_")), key=len)


def folder_of(work: Path, step: int) -> Path:
    """Where step `step` (from 0) is dumped; folders are named after the step's place, as checkpoints are."""
    return work / f"dump-step-{step + 1:08d}"


def write_dump(
    work: Path,
    batches: StepBatches,
    figures: Row,
    training: Training,
    ranks: Ranks,
    base: Path | None,
    modules: dict[str, nn.Module] | None,
) -> str:
    """Write this rank's part of a dump. Every rank calls it. Returns where it is, or why it is not, in words.

    `modules` are given when they still are as the loss saw them. A dump that fails must not hide the failure it is of.
    """
    folder = folder_of(work, batches.step)
    about = {
        "step": batches.step,
        "figures": {name: repr(value) for name, value in figures.items()},  # JSON has no NaN
        "world": ranks.data_world,
        "settings": training.identity(),
        "weights": "checkpoint" if modules is None else "before",
        "checkpoint": str(base.relative_to(work)) if base is not None else None,
    }
    problem = _tried(lambda: _write_share(folder, batches, ranks, modules or {}))
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


def _write_share(folder: Path, batches: StepBatches, ranks: Ranks, modules: dict[str, nn.Module]) -> None:
    if ranks.is_first:
        remove(folder / DUMP)  # of an earlier attempt, which stopped at the same step
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.leads_peers:
        _write(folder / f"rank-{ranks.data_rank}.safetensors", _numbered(batches.micro_batches))
    if ranks.is_first:
        for name, module in modules.items():
            _write(folder / f"{name}.safetensors", module_tensors(module))


def _write(path: Path, tensors: Tensors) -> None:
    with atomic_write(path) as partial:
        write_tensors(partial, tensors)


def _numbered(micro_batches: list[Batch]) -> Tensors:
    return {f"{number}.{name}": tensor for number, batch in enumerate(micro_batches) for name, tensor in batch.items()}


def read_dump(folder: Path) -> dict[str, Any]:
    return read_json(folder / DUMP)


def read_batches(folder: Path, rank: int) -> list[Batch]:
    """One rank's micro-batches, in order."""
    batches: dict[int, Batch] = {}
    for name, tensor in read_tensors(folder / f"rank-{rank}.safetensors").items():
        number, _, key = name.partition(".")
        batches.setdefault(int(number), {})[key] = tensor
    return [batches[number] for number in sorted(batches)]
