"""Steps per second of our training loop, a bare PyTorch loop, Hugging Face's Trainer, Lightning and Accelerate.

`python -m benchmarks.training [--repeats N]`. Same model, data and settings. The loops take turns step by step, in one
process, so that whatever else the machine does in these minutes slows all of them alike; a repeat is a fresh run of all.
A step is timed from one forward pass to the next, with all that its loop does in between. A ratio is the median over
repeats of the medians over steps. One torch thread each: with more, other work on the machine makes OpenMP's spin waits
decide the result. A peer that is not installed (Lightning comes with the `bench` extra) is said and left out.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.turnstile import Loop, take_turns, torch_threads
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.schedule import learning_rate
from components.engines.training.task import Batch, Task, Turn

LENGTH, SAMPLES = 16, 4096
SIZES = {
    "vocab_size": 1024,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
}
WARM_STEPS, STEPS = 10, 40
CPU = torch.device("cpu")
SETTINGS = Training(
    max_steps=WARM_STEPS + STEPS + 1,
    batch_size=64,
    learning_rate=1e-3,
    weight_decay=0.01,
    warmup_steps=5,
    checkpoint_every=10_000,
)

OnStep = Callable[[], None]


def make_model(on_step: OnStep, **sizes: int) -> nn.Module:
    """A Llama, of 0.77 M parameters unless `sizes` (of LlamaConfig) say else, that tells when its forward pass begins."""
    from transformers import LlamaConfig, LlamaForCausalLM

    chosen: dict[str, Any] = {**SIZES, **sizes}
    model = LlamaForCausalLM(LlamaConfig(**chosen, tie_word_embeddings=True, use_cache=False)).train()
    model.register_forward_pre_hook(lambda *_: on_step())
    return model


def make_tokens(length: int = LENGTH) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, SIZES["vocab_size"], (SAMPLES, length)))


def loss_of(model: nn.Module, tokens_bt: Tensor) -> Tensor:
    """The sum over target tokens, by the model's own loss function: the one that Trainer uses."""
    return model(input_ids=tokens_bt, labels=tokens_bt, num_items_in_batch=1).loss


class LanguageModel(Task):
    def __init__(self, on_step: OnStep, length: int = LENGTH, **sizes: int) -> None:
        self.model, self.tokens = make_model(on_step, **sizes), make_tokens(length)
        self.modules = {"model": self.model}
        self.turns = [
            Turn("lm", self.loss, list(self.model.parameters()), lambda batch: batch["tokens"][:, 1:].numel())
        ]
        self.num_samples = SAMPLES

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return {"tokens": self.tokens[indices]}

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return loss_of(self.model, batch["tokens"]), {}

    def score(self) -> dict[str, float]:
        return {}


def train(settings: Training, on_step: OnStep, **sizes: int) -> None:
    """Our loop, on the language model, in a work folder that is removed."""
    with tempfile.TemporaryDirectory() as work:
        fit(lambda: LanguageModel(on_step, **sizes), settings, work=Path(work), ranks=Ranks.single(CPU))


def ours(on_step: OnStep) -> None:
    train(SETTINGS, on_step)


def bare(on_step: OnStep) -> None:
    """The loop one would write by hand, on batches collated beforehand."""
    model, tokens = make_model(on_step), make_tokens()
    batches = [batch.clone() for batch in tokens.split(SETTINGS.batch_size)]
    optimizer, losses = make_optimizer(model), []
    for step in range(SETTINGS.max_steps):
        loss = mean_loss(model, batches[step % len(batches)])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(SETTINGS, step)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % SETTINGS.log_every == 0:
            losses.append(loss.item())


def hugging_face(on_step: OnStep) -> None:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as work:
        arguments = TrainingArguments(
            output_dir=work,
            max_steps=SETTINGS.max_steps,
            per_device_train_batch_size=SETTINGS.batch_size,
            learning_rate=SETTINGS.learning_rate,
            weight_decay=SETTINGS.weight_decay,
            warmup_steps=SETTINGS.warmup_steps,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            logging_steps=SETTINGS.log_every,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=True,
        )
        dataset = [{"input_ids": row, "labels": row} for row in make_tokens()]
        trainer = Trainer(make_model(on_step), arguments, train_dataset=dataset)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def lightning(on_step: OnStep) -> None:
    """No logger, no bar, no checkpoint: the least that its Trainer can be asked to do."""
    import lightning as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_model(on_step)

        def training_step(self, tokens_bt: Tensor) -> Tensor:
            loss = mean_loss(self.model, tokens_bt)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = make_optimizer(self.model)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": make_scheduler(optimizer), "interval": "step"},
            }

    trainer = pl.Trainer(
        max_steps=SETTINGS.max_steps,
        accelerator="cpu",
        gradient_clip_val=1.0,
        log_every_n_steps=SETTINGS.log_every,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), make_loader())


def accelerate(on_step: OnStep) -> None:
    """The loop of its quick tour, with clipping and a schedule."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = make_model(on_step)
    optimizer = make_optimizer(model)
    model, optimizer, loader, scheduler = accelerator.prepare(
        model, optimizer, make_loader(), make_scheduler(optimizer)
    )
    losses: list[float] = []
    for step, tokens_bt in zip(range(SETTINGS.max_steps), loader, strict=False):
        with accelerator.accumulate(model):
            loss = mean_loss(model, tokens_bt)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if (step + 1) % SETTINGS.log_every == 0:
            losses.append(loss.item())


def mean_loss(model: nn.Module, tokens_bt: Tensor) -> Tensor:
    return loss_of(model, tokens_bt) / tokens_bt[:, 1:].numel()


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(),
        lr=SETTINGS.learning_rate,
        weight_decay=SETTINGS.weight_decay,
        betas=SETTINGS.adam_betas,
        fused=True,
    )


def make_scheduler(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(SETTINGS, min(step, SETTINGS.max_steps - 1)) / SETTINGS.learning_rate
    )


def make_loader() -> torch.utils.data.DataLoader[Tensor]:
    """One epoch is longer than a run."""
    return torch.utils.data.DataLoader(make_tokens(), SETTINGS.batch_size, shuffle=True)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Peer:
    """A rival loop, the package it needs, and the least ratio of our steps per second to its own."""

    name: str
    loop: Loop
    package: str
    bar: float


PEERS = (
    Peer("bare PyTorch loop", bare, "torch", 0.98),
    Peer("Hugging Face Trainer", hugging_face, "transformers", 1.0),
    Peer("Lightning", lightning, "lightning", 1.0),
    Peer("Accelerate", accelerate, "accelerate", 1.0),
)


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Steps per second of ours and theirs, their ratio with its range over the repeats, and the bar it must reach."""
    peers = [peer for peer in PEERS if _installed(peer)]
    loops = {"ours": ours, **{peer.name: peer.loop for peer in peers}}
    for peer in peers:  # imports are not safe in several threads at once
        importlib.import_module(peer.package)
    make_model(lambda: None)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its remarks on devices and workers
    with torch_threads(1):
        done = [_repeat(loops) for _ in range(repeats)]
    return [_row(peer, done) for peer in peers]


def _installed(peer: Peer) -> bool:
    if find_spec(peer.package) is not None:
        return True
    print(f"{peer.name} is left out: it is not installed (pip install -e '.[bench]')", file=sys.stderr)
    return False


@dataclass(frozen=True)
class Repeat:
    """Median seconds of one step of each loop, in one run of all of them: on the clock, and of CPU in all threads."""

    wall: dict[str, float]
    cpu: dict[str, float]


def _repeat(loops: dict[str, Loop]) -> Repeat:
    turns = take_turns(loops)
    wall, cpu = (
        {name: statistics.median(values[WARM_STEPS:]) for name, values in seconds.items()}
        for seconds in (turns.seconds, turns.cpu_seconds)
    )
    return Repeat(wall, cpu)


def _row(peer: Peer, repeats: list[Repeat]) -> dict[str, Any]:
    """`cpu_ratio` tells, on a busy machine, whether a missed bar is the loop's work or its waiting for a core."""
    ratios = [repeat.wall[peer.name] / repeat.wall["ours"] for repeat in repeats]
    speeds = {name: 1 / statistics.median(repeat.wall[name] for repeat in repeats) for name in ("ours", peer.name)}
    return {
        "name": f"training loop ÷ {peer.name} (steps/s)",
        "ours": speeds["ours"],
        "theirs": speeds[peer.name],
        "ratio": statistics.median(ratios),
        "range": [min(ratios), max(ratios)],
        "cpu_ratio": statistics.median(repeat.cpu[peer.name] / repeat.cpu["ours"] for repeat in repeats),
        "bar": peer.bar,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    rows = run(parser.parse_args().repeats)
    print(f"{'':50} {'ours':>8} {'theirs':>8} {'ratio':>6} {'range':>13} {'bar':>5} {'CPU':>6}")
    for row in rows:
        low, high = row["range"]
        print(
            f"{row['name']:50} {row['ours']:8.2f} {row['theirs']:8.2f} {row['ratio']:6.3f} {low:6.3f}–{high:.3f} "
            f"{row['bar']:5.2f} {row['cpu_ratio']:6.3f}"
        )
    return 0 if all(row["ratio"] >= row["bar"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
