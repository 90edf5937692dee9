"""Steps per second of our training loop, a bare PyTorch loop and Hugging Face's Trainer: same model, data and settings.

`python -m benchmarks.training`. The three loops take turns step by step, in one process, and medians over all their steps
are compared: whatever else the machine does in these minutes slows all three alike. A step is timed from one forward
pass to the next, with all that its loop does in between. One torch thread each: with more, other work on the machine
makes OpenMP's spin waits decide the result.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.engines.training.loop import fit
from components.engines.training.params import Training
from components.engines.training.ranks import Ranks
from components.engines.training.schedule import learning_rate
from components.engines.training.task import Batch, Task, Turn

VOCABULARY, LENGTH, SAMPLES = 1024, 16, 4096
WARM_STEPS, STEPS_PER_REPEAT = 10, 20
SETTINGS = Training(
    max_steps=1000, batch_size=64, learning_rate=1e-3, weight_decay=0.01, warmup_steps=5, checkpoint_every=10_000
)


class Turnstile:
    """Lets one of several loops run at a time, for one step each, and keeps the seconds of their steps."""

    def __init__(self, names: list[str]) -> None:
        self.waiting: list[str] = []
        self.names, self.turn = names, ""
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.begin, self.changed = 0.0, threading.Condition()

    def step(self, name: str) -> None:
        """Called by a loop where a step begins: hand over to the next loop, and wait for the turn to come back."""
        deterministic = torch.are_deterministic_algorithms_enabled()  # a flag of the process: each loop has its own
        with self.changed:
            if self.turn == name:
                self.seconds[name].append(time.perf_counter() - self.begin)
                self._pass_on(name)
            else:
                self.waiting.append(name)
                self._start_when_all_wait()
            self.changed.wait_for(lambda: self.turn == name)
        torch.use_deterministic_algorithms(deterministic)
        self.begin = time.perf_counter()

    def leave(self, name: str) -> None:
        with self.changed:
            if self.turn == name:
                self._pass_on(name)
            self.names = [other for other in self.names if other != name]
            self._start_when_all_wait()

    def _start_when_all_wait(self) -> None:
        if not self.turn and self.names and set(self.waiting) >= set(self.names):
            self._pass_on(self.names[-1])

    def _pass_on(self, name: str) -> None:
        self.turn = self.names[(self.names.index(name) + 1) % len(self.names)]
        self.changed.notify_all()


def make_model(on_step: Callable[[], None]) -> nn.Module:
    """A Llama of 0.77 M parameters that tells when its forward pass begins."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        use_cache=False,
    )
    model = LlamaForCausalLM(config).train()
    model.register_forward_pre_hook(lambda *_: on_step())
    return model


def make_tokens() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, VOCABULARY, (SAMPLES, LENGTH)))


def loss_of(model: nn.Module, tokens_bt: Tensor) -> Tensor:
    """The sum over target tokens, by the model's own loss function: the one that Trainer uses."""
    return model(input_ids=tokens_bt, labels=tokens_bt, num_items_in_batch=1).loss


class LanguageModel(Task):
    def __init__(self, on_step: Callable[[], None]) -> None:
        self.model, self.tokens = make_model(on_step), make_tokens()
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


def ours(settings: Training, on_step: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as work:
        fit(lambda: LanguageModel(on_step), settings, work=Path(work), ranks=Ranks.single())


def bare(settings: Training, on_step: Callable[[], None]) -> None:
    """The loop one would write by hand, on batches collated beforehand."""
    model, tokens = make_model(on_step), make_tokens()
    batches = [tokens[start : start + 64].clone() for start in range(0, SAMPLES, 64)]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, weight_decay=settings.weight_decay, fused=True, betas=settings.adam_betas
    )
    losses = []
    for step in range(settings.max_steps):
        batch = batches[step % len(batches)]
        loss = loss_of(model, batch) / batch[:, 1:].numel()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % settings.log_every == 0:
            losses.append(loss.item())


def hugging_face(settings: Training, on_step: Callable[[], None]) -> None:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as work:
        arguments = TrainingArguments(
            output_dir=work,
            max_steps=settings.max_steps,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=settings.warmup_steps,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            logging_steps=settings.log_every,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        dataset = [{"input_ids": row, "labels": row} for row in make_tokens()]
        trainer = Trainer(make_model(on_step), arguments, train_dataset=dataset)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


LOOPS = {"ours": ours, "bare PyTorch loop": bare, "Hugging Face Trainer": hugging_face}


def step_seconds(num_steps: int) -> dict[str, list[float]]:
    """Seconds of each step of each loop, without the first WARM_STEPS and the last. Raises what a loop raised."""
    settings = SETTINGS.model_copy(update={"max_steps": num_steps})
    turnstile, errors = Turnstile(list(LOOPS)), []

    def go(name: str) -> None:
        try:
            LOOPS[name](settings, lambda: turnstile.step(name))
        except Exception as error:
            errors.append(error)
        finally:
            turnstile.leave(name)

    make_model(lambda: None)  # imports are not safe in several threads at once
    threads = [threading.Thread(target=go, args=(name,), name=name) for name in LOOPS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return {name: seconds[WARM_STEPS:] for name, seconds in turnstile.seconds.items()}


def run(repeats: int = 5) -> list[dict[str, Any]]:
    """Medians over interleaved steps: steps per second of ours and theirs, their ratio, and the bar it must reach."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = step_seconds(WARM_STEPS + repeats * STEPS_PER_REPEAT + 1)
    finally:
        torch.set_num_threads(threads)
    speeds = {name: 1 / statistics.median(values) for name, values in seconds.items()}
    bars = {"bare PyTorch loop": 0.97, "Hugging Face Trainer": 1.0}
    return [
        {
            "name": f"training loop ÷ {name} (steps/s)",
            "ours": speeds["ours"],
            "theirs": speeds[name],
            "ratio": speeds["ours"] / speeds[name],
            "bar": bar,
        }
        for name, bar in bars.items()
    ]


def main() -> int:
    rows = run()
    print(f"{'':56} {'ours':>8} {'theirs':>8} {'ratio':>6} {'bar':>5}")
    for row in rows:
        print(f"{row['name']:56} {row['ours']:8.2f} {row['theirs']:8.2f} {row['ratio']:6.3f} {row['bar']:5.2f}")
    return 0 if all(row["ratio"] >= row["bar"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
