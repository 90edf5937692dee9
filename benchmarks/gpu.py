"""A GPT of 124 M parameters and a DiT-B/2 on one GPU, bf16, compiled: our loop, a plain loop, Hugging Face's Trainer.

    python -m benchmarks.gpu [--toy] [--only gpt|dit] [--batch-size N] [--[no-]compile] [--peak-tflops N] [--repeats N]

Needs torch, transformers, accelerate and pydantic; neither Ray nor MLflow, diffusers or webdataset. Prints a table and a
JSON document, and writes that to `benchmarks/results/<date>-gpu.json`. `--toy` runs all of it on the CPU in less than a
minute, uncompiled: it says that the script runs, nothing about speed. NOT YET RUN ON A GPU (2026-11-24: none could be had).

The three loops live in one process and take turns of BLOCK steps. A turn ends when the device has done all its work, so
that the host may run ahead within it as it does in a real run; seconds per step are medians over turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu_workloads import Workload, dit, gpt
from benchmarks.machine import describe
from benchmarks.turnstile import Loop, take_turns
from components.engines.base.paths import write_json
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.schedule import learning_rate
from components.engines.training.task import Batch, Task, Turn

RESULTS = Path(__file__).parent / "results"
Step = Callable[[], None]

# ----------------------------------------------------------------------------------------------------------- loops


@dataclass(frozen=True)
class Bench:
    """One workload on one device; a run is BLOCK steps of each loop in turn, `warm` + `repeats` times over."""

    workload: Workload
    training: Training
    device: torch.device
    block: int
    compiled: bool

    def end_of_block(self, end_turn: Step) -> Step:
        """Called where a step begins: at every BLOCK-th, once the device is idle, the next loop has its turn."""
        calls = itertools.count()

        def on_step() -> None:
            if next(calls) % self.block == 0:
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
                end_turn()

        return on_step

    def ours(self, end_turn: Step) -> None:
        on_step = self.end_of_block(end_turn)
        with tempfile.TemporaryDirectory() as work:
            task = lambda: OurTask(self.workload, on_step)  # noqa: E731
            fit(task, self.training, work=Path(work), ranks=Ranks.single(self.device))

    def plain(self, end_turn: Step) -> None:
        """After nanoGPT's train.py: the next batch is fetched while the device works on this one."""
        on_step, training = self.end_of_block(end_turn), self.training
        model = self.workload.make_model().to(self.device)
        forward = torch.compile(model) if self.compiled else model
        matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
        vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": training.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            betas=training.adam_betas,
            fused=True,
        )
        batches, losses = self.batches(), []
        batch = next(batches)
        for step in range(training.max_steps):
            on_step()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(training, step)
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = forward(**batch)["loss"]
            batch = next(batches)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step % training.log_every == 0:
                losses.append(loss.item())

    def batches(self) -> Iterator[Batch]:
        draw = np.random.default_rng(1)
        while True:
            batch = self.workload.batch(draw.integers(0, self.workload.num_samples, self.workload.batch_size))
            if self.device.type == "cuda":
                batch = {name: rows.pin_memory().to(self.device, non_blocking=True) for name, rows in batch.items()}
            yield batch

    def hugging_face(self, end_turn: Step) -> None:
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        on_step, training = self.end_of_block(end_turn), self.training

        class Turns(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                on_step()

        with tempfile.TemporaryDirectory() as work:
            arguments = TrainingArguments(
                output_dir=work,
                max_steps=training.max_steps,
                per_device_train_batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                weight_decay=training.weight_decay,
                adam_beta2=training.adam_betas[1],
                warmup_steps=training.warmup_steps,
                lr_scheduler_type="cosine",
                max_grad_norm=1.0,
                optim="adamw_torch_fused",
                bf16=True,
                torch_compile=self.compiled,
                logging_steps=training.log_every,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                use_cpu=self.device.type == "cpu",
            )
            columns = {name: torch.from_numpy(rows) for name, rows in self.workload.samples.items()}
            dataset = [dict(zip(columns, rows, strict=True)) for rows in zip(*columns.values(), strict=True)]
            trainer = Trainer(
                self.workload.make_model(),
                arguments,
                train_dataset=dataset,  # type: ignore[arg-type]
                data_collator=_stack,
                callbacks=[Turns()],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()


def _stack(rows: list[dict[str, Tensor]]) -> Batch:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


class OurTask(Task):
    """The workload as our loop wants it; the loop divides the sum of the loss by the weight, so both count samples."""

    def __init__(self, workload: Workload, on_step: Step) -> None:
        self.workload, self.on_step, self.model = workload, on_step, workload.make_model()
        self.modules = {"model": self.model}
        self.turns = [Turn("train", self.loss, list(self.model.parameters()), lambda _: workload.batch_size)]
        self.num_samples = workload.num_samples

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self.workload.batch(indices)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.on_step()
        return self.model(**batch)["loss"] * self.workload.batch_size, {}

    def score(self) -> dict[str, float]:
        return {}


# ------------------------------------------------------------------------------------------------------------- run


def measure(bench: Bench, warm: int) -> dict[str, list[float]]:
    """Seconds per step of each loop, by turn; the first `warm` turns, in which models are compiled, left out."""
    loops: dict[str, Loop] = {
        "ours": bench.ours,
        "plain loop": bench.plain,
        "Hugging Face Trainer": bench.hugging_face,
    }
    import transformers  # noqa: F401  imports are not safe in several threads at once

    seconds = take_turns(loops).seconds
    return {name: [turn / bench.block for turn in turns[warm:]] for name, turns in seconds.items()}


def rows_of(bench: Bench, seconds: dict[str, list[float]], peak: float | None) -> list[dict[str, Any]]:
    workload = bench.workload
    rows = []
    for name, values in seconds.items():
        middle = statistics.median(values)
        ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], values, strict=True)]
        samples_per_second = workload.batch_size / middle
        rows.append(
            {
                "model": workload.name,
                "loop": name,
                "seconds_per_step": middle,
                "range": [min(values), max(values)],
                "samples_per_second": samples_per_second,
                "tokens_per_second": samples_per_second * workload.tokens_per_sample,
                "mfu": samples_per_second * workload.forward_backward_flops / peak if peak else None,
                "ours_over_this": statistics.median(ratios),
            }
        )
    return rows


def make_training(batch_size: int, turns: int, block: int, compiled: bool) -> Training:
    wished: dict[str, Any] = {"compile": compiled}
    for name in wished.keys() - Training.model_fields.keys():
        print(f"this engine has no param '{name}': our loop runs without it", file=sys.stderr)
        del wished[name]
    return Training(
        max_steps=turns * block + 1,
        batch_size=batch_size,
        learning_rate=6e-4,
        weight_decay=0.1,
        adam_betas=(0.9, 0.95),
        warmup_steps=10,
        precision="bf16",
        checkpoint_every=1_000_000,
        fast=True,
        **wished,
    )


def peak_flops(device: torch.device, given_tflops: float | None) -> float | None:
    """Dense bf16 FLOP/s of the device: as given, else from the engine's table, if it has one."""
    if given_tflops is not None:
        return 1e12 * given_tflops
    if device.type != "cuda" or find_spec("components.engines.training.observe.peaks") is None:
        return None
    from components.engines.training.observe.peaks import listed_peak

    listed = listed_peak(torch.cuda.get_device_name(device), "bf16")
    return None if listed is None else 1e12 * listed


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole document: figures per model and loop, settings, versions, machine and date."""
    if not arguments.toy and not torch.cuda.is_available():
        sys.exit("benchmarks.gpu needs a CUDA device; --toy tries the script on the CPU")
    device = torch.device("cpu" if arguments.toy else "cuda")
    torch.set_float32_matmul_precision("high")
    warm, block = (1, 3) if arguments.toy else (2, 20)
    compiled = not arguments.toy if arguments.compile is None else arguments.compile
    peak, rows = peak_flops(device, arguments.peak_tflops), []
    for name, make in {"gpt": gpt, "dit": dit}.items():
        if arguments.only in (None, name):
            workload = make(arguments.toy, arguments.batch_size)
            training = make_training(workload.batch_size, warm + arguments.repeats, block, compiled)
            bench = Bench(workload, training, device, block, compiled)
            rows += rows_of(bench, measure(bench, warm), peak)
    return {
        "rows": rows,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "note": "toy sizes on the CPU: says nothing about speed" if arguments.toy else "",
        "device": "cpu" if arguments.toy else torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "peak_tflops": peak and peak / 1e12,
        "settings": {"precision": "bf16", "compiled": compiled, "turns": arguments.repeats, "steps_per_turn": block},
        **describe(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="toy sizes on the CPU, to try the script")
    parser.add_argument("--only", choices=("gpt", "dit"))
    parser.add_argument("--batch-size", type=int, help="samples per step (default: 16 for the GPT, 64 for the DiT)")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: except with --toy")
    parser.add_argument("--peak-tflops", type=float, help="dense bf16, for MFU (default: the engine's table of GPUs)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each loop that are measured")
    document = run(parser.parse_args())
    print(f"{'':44} {'samples/s':>10} {'tokens/s':>10} {'MFU':>6} {'ours ÷ this':>11}")
    for row in document["rows"]:
        mfu = "" if row["mfu"] is None else f"{row['mfu']:.3f}"
        name = f"{row['model']}, {row['loop']}"
        print(
            f"{name:44} {row['samples_per_second']:>10.1f} {row['tokens_per_second']:>10.0f} {mfu:>6} "
            f"{row['ours_over_this']:>11.3f}"
        )
    print(json.dumps(document, indent=2, ensure_ascii=False))
    if not document["note"]:
        write_json(RESULTS / f"{document['date']}-gpu.json", document)


if __name__ == "__main__":
    main()
