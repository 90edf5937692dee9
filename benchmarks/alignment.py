"""Alignment of the chat assistant beside transformers' own drawing and TRL's DPOTrainer, on one core.

    python -m benchmarks alignment

The model is the default one of the room, from scratch; questions and pairs are those of its sample world. What is timed takes
turns with its rival. A ratio is the median over repeats of the medians over calls or steps.

Drawing: PPO's rollout draws answers to a batch of questions, as does `generate` with `do_sample`, with as many new tokens,
temperature 1 and no other limit. Both go on to the last token, for some row always does. The whole rollout stands in a row
without a rival: it also reads the policy's values, the reference and the reward.

DPO: the steps of our loop and of `DPOTrainer.train`, on one batch that both have beforehand, with AdamW in one kernel, clipping
and a schedule. Both run the reference in every step, without gradients: neither has its log-probabilities beforehand. The
trainer's gradient checkpointing and bf16, which it has on by default, are off.

Times are CPU seconds, so that waiting for a core that others use does not count.
"""

from __future__ import annotations

import copy
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.turnstile import Loop, take_turns, torch_threads
from components.chat_assistant.architecture import Architecture
from components.chat_assistant.networks import language_model, scorer
from components.chat_assistant.ppo import Ppo
from components.chat_assistant.tasks.dpo import DirectPreference
from components.chat_assistant.tasks.ppo import PPO, Settings
from components.chat_assistant.tasks.reading import Pair, Prompt
from components.chat_assistant.tasks.rollouts import draw
from components.chat_assistant.world.draw import preferences
from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe
from components.engines.language.chat_tokens import MARKS, TEMPLATE, ChatTokens
from components.engines.language.records import Record
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from components.engines.training.task import Batch

ROWS, QUESTIONS, NEW_TOKENS, PAIRS = 2_000, 96, 16, 48
WARM, CALLS, STEPS = 2, 10, 30
BETA = 0.1
SETTINGS = Training(
    max_steps=WARM + STEPS + 1,
    batch_size=PAIRS,
    learning_rate=3e-4,
    warmup_steps=5,
    checkpoint_every=10_000,
    num_threads=1,
)

OnStep = Callable[[], None]


def run(repeats: int = 5) -> list[dict[str, Any]]:
    importlib.import_module("trl.trainer.dpo_trainer")  # imports are not safe in several threads at once
    shape = Architecture()
    words, rows = vocabulary(), list(preferences(QUESTIONS, 0.0, seed=1))
    tokens = ChatTokens(words, shape.max_tokens)
    torch.manual_seed(0)
    model = language_model.build(shape, words).eval()
    with torch_threads(1):
        drawn = [drawing(model, tokens, rows) for _ in range(repeats)]
        stepped = [stepping(model, tokens, rows[:PAIRS]) for _ in range(repeats)]
    count = QUESTIONS * NEW_TOKENS
    return [
        _row("PPO's draw ÷ transformers' generate (tokens/s)", drawn, count) | {"bar": 0.95},
        {"name": "PPO's whole rollout (tokens/s)", "ours": count / _median(drawn, "rollout")},
        _row("DPO step ÷ TRL's DPOTrainer (steps/s)", stepped, 1) | {"bar": 1.0},
    ]


def _row(name: str, repeats: list[dict[str, float]], count: int) -> dict[str, Any]:
    ratios = [one["theirs"] / one["ours"] for one in repeats]
    speeds = {kind: count / _median(repeats, kind) for kind in ("ours", "theirs")}
    return {"name": name, **speeds, "ratio": statistics.median(ratios), "range": [min(ratios), max(ratios)]}


def _median(repeats: list[dict[str, float]], kind: str) -> float:
    return statistics.median(one[kind] for one in repeats)


def vocabulary() -> Any:
    """A tokenizer of the default size."""
    texts = (one[name] for one in preferences(ROWS, 0.0, seed=0) for name in ("prompt", "chosen", "rejected"))
    words = train_bpe(
        texts, Vocabulary(vocab_size=600), SPECIAL, single="<s> $A", more=MARKS, strip=False, spaced=False
    )
    words.chat_template = TEMPLATE
    return words


def asked(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["prompt"]}]


# --------------------------------------------------------------------------------------------------------- drawing


def drawing(model: Any, tokens: ChatTokens, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Median seconds of a batch of answers by us and by `generate`, and of the whole rollout."""
    task = reinforcing(model, [tokens.prompt(asked(row)) for row in rows])
    batch = task.batch(np.arange(len(rows)), 0)
    seeds = batch["seeds"].tolist()
    calls = {
        "ours": lambda: draw(model, batch["ids"], batch["mask"], seeds, task.drawing)[0],
        "theirs": lambda: generate(model, batch),
        "rollout": lambda: task.rollout(batch, 0)["answer"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(WARM + CALLS):
        for name, call in calls.items():
            started = time.thread_time()
            with torch.no_grad():
                answers = call()
            seconds[name].append(time.thread_time() - started)
            assert answers.shape == (len(rows), NEW_TOKENS), name
    return {name: statistics.median(values[WARM:]) for name, values in seconds.items()}


def generate(model: Any, batch: Batch) -> Tensor:
    made = model.generate(
        input_ids=batch["ids"],
        attention_mask=batch["mask"],
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=NEW_TOKENS,
        pad_token_id=model.config.pad_token_id,
    )
    return made[:, batch["ids"].shape[1] :]


def reinforcing(model: Any, questions: list[list[int]]) -> PPO:
    params = Ppo(training=SETTINGS)
    settings = Settings(
        **params.model_dump(exclude={"enabled", "training", "lora", "num_measured"}),
        max_new_tokens=NEW_TOKENS,
        seed=0,
    )
    train = [Prompt(ids, Record(str(place), {}, {})) for place, ids in enumerate(questions)]
    reward = scorer.on_top_of(model, ["reward"]).eval()
    return PPO(model, copy.deepcopy(model), reward, train, lambda _: {}, settings)


# ------------------------------------------------------------------------------------------------------------- DPO


class OneBatch(DirectPreference):
    """Has the same batch in every step, and scores nothing."""

    made: Batch

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self.made

    def score(self) -> dict[str, float]:
        return {}


def stepping(model: Any, tokens: ChatTokens, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Median seconds of a step of our loop and of TRL's, from one forward pass of the policy to the next."""
    loops: dict[str, Loop] = {
        "ours": partial(ours, model, tokens, rows),
        "theirs": partial(theirs, model, tokens, rows),
    }
    turns = take_turns(loops)
    return {name: statistics.median(values[WARM : WARM + STEPS]) for name, values in turns.cpu_seconds.items()}


def ours(model: Any, tokens: ChatTokens, rows: list[dict[str, Any]], on_step: OnStep) -> None:
    task = preferring(model, tokens, rows)
    task.model.register_forward_pre_hook(lambda *_: on_step())
    with tempfile.TemporaryDirectory() as work:
        fit(lambda: task, SETTINGS, work=Path(work), ranks=Ranks.single(torch.device("cpu")))


def preferring(model: Any, tokens: ChatTokens, rows: list[dict[str, Any]]) -> OneBatch:
    pairs = [
        Pair(tokens.prompt(asked(row)), tokens.answer(row["chosen"]), tokens.answer(row["rejected"]), row["margin"])
        for row in rows
    ]
    policy, reference = copy.deepcopy(model), copy.deepcopy(model)
    task = OneBatch(
        policy, reference, pairs, [], pad_id=model.config.pad_token_id, beta=BETA, label_smoothing=0.0, chosen_weight=0.0
    )  # fmt: skip
    task.made = DirectPreference.batch(task, np.arange(len(pairs)), 0)
    return task


def theirs(model: Any, tokens: ChatTokens, rows: list[dict[str, Any]], on_step: OnStep) -> None:
    with tempfile.TemporaryDirectory() as work:
        trainer = trainer_of(model, tokens, rows, work)
        trainer.model.register_forward_pre_hook(lambda *_: on_step())
        trainer.train()


def trainer_of(model: Any, tokens: ChatTokens, rows: list[dict[str, Any]], work: str) -> Any:
    """TRL's trainer on the batch that it makes of the rows: it is handed out in every step."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    arguments = DPOConfig(
        output_dir=work,
        max_steps=SETTINGS.max_steps,
        per_device_train_batch_size=PAIRS,
        learning_rate=SETTINGS.learning_rate,
        warmup_steps=SETTINGS.warmup_steps,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        beta=BETA,
        gradient_checkpointing=False,
        bf16=False,
        pad_to_multiple_of=None,
        logging_steps=SETTINGS.log_every,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=True,
    )
    given = [
        {"prompt": asked(row)}
        | {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
        for row in rows
    ]
    trainer = DPOTrainer(
        copy.deepcopy(model),
        copy.deepcopy(model),
        args=arguments,
        train_dataset=Dataset.from_list(given),
        processing_class=copy.deepcopy(tokens.tokenizer),
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert batch["input_ids"].tolist() == preferring(model, tokens, rows).made["ids"].tolist()
    trainer.train_dataset = list(range(SETTINGS.max_steps * PAIRS))
    trainer.data_collator = lambda _: dict(batch)
    trainer.remove_callback(PrinterCallback)
    return trainer
