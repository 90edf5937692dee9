"""Compiled modules: close losses, the same names, exact resume, and one clear error where nothing can be compiled."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy_fits import fit_here, outcome, training

from components.engines.base.errors import StageError, UsageError
from components.engines.training import compiling
from components.engines.training.compiling import compilation, compile_modules, uncompiled
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.task import Task, Turn

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler on the CPU"
)


class Regression(Task):
    """Small, of one shape: compiling takes longer than training."""

    def __init__(self, dropout: float = 0.0):
        blocks = [nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(dropout)) for _ in range(2)]
        self.model = Stack(blocks)
        self.modules = {"model": self.model}
        self.turns = [Turn("fit", self.loss, list(self.model.parameters()), lambda batch: len(batch["x"]))]
        self.num_samples = 64

    def batch(self, indices, epoch):
        x = torch.from_numpy(indices).float()[:, None] / 64
        return {"x": torch.cat([torch.sin(k * x) for k in range(8)], dim=1)}

    def loss(self, batch):
        return (self.model(batch["x"]) - batch["x"].flip(1)).square().sum(), {}

    def score(self):
        return {"loss": self.loss({"x": torch.ones(3, 8)})[0].item()}


class Stack(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks, self.traced = nn.ModuleList(blocks), []

    def forward(self, x):
        self.traced.append(torch.compiler.is_compiling())
        for block in self.blocks:
            x = block(x)
        return x


def fitted(work, settings, **arguments):
    return fit(lambda: Regression(**arguments), settings, work=work, ranks=Ranks.single(CPU))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("how", ["off", "selective", "full"])
def test_compiled_modules_train_as_the_others_do(how, tmp_path):
    settings = training(max_steps=8, score_every=4)
    plain = fitted(tmp_path / "plain", settings)
    compiled = fitted(
        tmp_path / "compiled", settings.model_copy(update={"compile": True, "gradient_checkpointing": how})
    )
    for row, other in zip(compiled.curve, plain.curve, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    assert (
        load_file(compiled.weights / "model.safetensors").keys()
        == load_file(plain.weights / "model.safetensors").keys()
    )


@needs_compiler
@pytest.mark.slow
def test_a_compiled_run_resumes_exactly(tmp_path):
    """With dropout, and in a compiler that has seen nothing, as after a kill."""
    settings = training(max_steps=8, compile=True, checkpoint_every=1)
    torch.compiler.reset()
    whole = outcome(fitted(tmp_path / "whole", settings, dropout=0.2))
    shutil.copytree(tmp_path / "whole", tmp_path / "rest")
    for gone in ("final", "checkpoints/step-00000008"):
        shutil.rmtree(tmp_path / "rest" / gone)
    (tmp_path / "rest" / "fit.json").unlink()
    torch.compiler.reset()
    assert outcome(fitted(tmp_path / "rest", settings, dropout=0.2)) == whole


@needs_compiler
@pytest.mark.slow
def test_calls_are_compiled_but_in_scores_and_rollouts():
    task, settings = Regression(), training(compile=True)
    compile_modules(task, settings)
    with compilation(settings, CPU):
        task.loss(task.batch(torch.arange(4).numpy(), 0))
        assert task.model.traced.pop() is True
        with uncompiled(settings), torch.no_grad():
            task.score()
        assert task.model.traced.pop() is False


@needs_compiler
@pytest.mark.slow
def test_shapes_without_end_stop_the_run_instead_of_going_on_uncompiled(tmp_path, monkeypatch):
    class Growing(Regression):
        def batch(self, indices, epoch):
            return super().batch(indices[: 3 + epoch], epoch)  # an epoch is 4 steps

    monkeypatch.setattr(compiling, "MOST_SHAPES", 2)
    settings = training(max_steps=24, compile=True, checkpoint_every=4)
    with pytest.raises(StageError, match="compiled 2 times, for ever new shapes"):
        fit(Growing, settings, work=tmp_path, ranks=Ranks.single(CPU))


def test_without_the_param_nothing_is_compiled():
    task = Regression()
    compile_modules(task, training())
    task.score()
    assert task.model.traced == [False]


def test_where_nothing_can_be_compiled_the_run_is_refused_before_the_task_is_built(tmp_path, monkeypatch):
    def broken(function, **options):
        def call(*args):
            raise RuntimeError("InvalidCxxCompiler: no working C++ compiler found\nand a page of advice")

        return call

    def never():
        raise AssertionError("built a task that could not be compiled")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match=r"does not work here: .*no working C") as error:
        fit(never, training(compile=True), work=tmp_path, ranks=Ranks.single(CPU))
    assert "a page of advice" not in str(error.value)


def test_compiling_changes_the_arithmetic_so_it_is_part_of_a_runs_identity(tmp_path):
    fit_here("toy_language_model", training(max_steps=4), tmp_path)
    with pytest.raises(UsageError, match="compile: False → True"):
        fit_here("toy_language_model", training(max_steps=4, compile=True), tmp_path)
