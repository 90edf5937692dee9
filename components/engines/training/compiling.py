"""torch.compile of the modules, in place, for the length of one fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from components.engines.base.errors import StageError, UsageError
from components.engines.training.params import Training
from components.engines.training.task import Task

MOST_SHAPES = 64  # compiled versions of one module: shapes × turns


def compile_modules(task: Task, training: Training) -> None:
    """Compile each trained module's call, in place: names in checkpoints stay. The first steps then take their time.

    Every shape is compiled for itself: torch's own rule, to make a size variable when it first changes, would let the
    kernels of a step depend on the steps before it, and a resumed run has not seen those. `fast` gives that up.
    """
    if not training.compile:
        return
    trained = {id(parameter) for turn in task.turns for parameter in turn.parameters}
    for module in task.modules.values():
        if any(id(parameter) in trained for parameter in module.parameters()):
            module.compile(dynamic=None if training.fast else False)


@contextmanager
def compilation(training: Training, device: torch.device) -> Iterator[None]:
    """Limits of the compiler, set for one fit.

    Raises UsageError if nothing can be compiled here, and StageError if a module cannot, or comes in too many shapes.
    """
    if not training.compile:
        yield
        return
    _try_compiler(device)
    limits = {"recompile_limit": MOST_SHAPES, "accumulated_recompile_limit": 8 * MOST_SHAPES}
    # Beyond the limit torch would go on uncompiled, with a warning: another arithmetic, at a step that depends on the
    # steps seen. Its splitting of the graph for DDP cannot hold recomputed blocks.
    strict = {"fail_on_recompile_limit_hit": True, "optimize_ddp": training.gradient_checkpointing == "off"}
    with torch._dynamo.config.patch({**limits, **strict}):
        try:
            yield
        except torch._dynamo.exc.FailOnRecompileLimitHit as error:
            raise StageError(
                f"A module was compiled {MOST_SHAPES} times, for ever new shapes",
                do="pad batches to a few lengths, or set fast: true (variable sizes) or compile: false",
            ) from error
        except torch._dynamo.exc.TorchDynamoException as error:
            raise StageError(f"A module cannot be compiled: {_first_line(error)}", do="set compile: false") from error


def uncompiled(training: Training) -> AbstractContextManager[object]:
    """For scores and rollouts, whose shapes vary without end (generation grows token by token)."""
    return torch.compiler.set_stance("force_eager") if training.compile else nullcontext()


def _try_compiler(device: torch.device) -> None:
    probe = torch.compile(lambda x: 2 * x + 1)
    try:
        probe(torch.ones(8, device=device))
    except Exception as error:
        raise UsageError(
            f"compile: true, but torch.compile does not work here: {_first_line(error)}",
            do="install a C++ compiler (g++ or clang), or set compile: false",
        ) from error


def _first_line(error: Exception) -> str:
    """The cause, not the page of advice around it."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or [''])[0]}"
