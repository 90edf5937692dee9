"""A chat_assistant that is ready in seconds."""

from pathlib import Path

from components.chat_assistant.architecture import Answering, Architecture
from components.chat_assistant.ppo import reinforcing
from components.engines.generation.decoding import Decoding
from components.engines.training.params import Training
from tests.room import Room

SMALL = Architecture(width=32, layers=1, heads=2, key_heads=1, max_tokens=64)
ANSWERING = Answering(decoding=Decoding(strategy="sample", max_new_tokens=8), best_of=2)
SIZES = {"num_texts": 150, "num_conversations": 500, "num_preferences": 400, "num_requests": 200}
DATA = ("ingest", "clean", "validate", "tokenizer")
MODELS = ("pretrain", "sft", "train_reward", "ppo", "dpo", "train_safety")


def training(steps, metric="valid_loss", mode="min", **more):
    return Training(
        max_steps=steps, batch_size=16, learning_rate=5e-3, score_every=steps, select_metric=metric, select_mode=mode,
        num_threads=1, **{"checkpoint_every": 50, **more},
    )  # fmt: skip


PPO = training(6, "learned_reward", "max", select="last", accumulation_steps=2, checkpoint_every=2)


def small(root, base=None, **sections):
    ours = {
        "architecture": SMALL,
        "answering": ANSWERING,
        "ingest": {**SIZES, "valid_fraction": 0.15, "samples_per_shard": 300, "dirt_fraction": 0.06, "seed": 1},
        "validate": {"min_train": 50, "min_test": 5},
        "tokenizer": {"vocab_size": 450},
        "pretrain": {"training": training(10)},
        "sft": {"training": training(90)},
        "train_reward": {"training": training(10)},
        "ppo": {"training": PPO, "num_measured": 16, "epochs": 2},
        "dpo": {"training": training(6)},
        "train_safety": {"training": training(20), "num_ordinary": 60},
        "evaluate": {"num_questions": 24, "draws": 1, "best_of": 2, "num_samples": 6},
    }
    return Room("chat_assistant", root, base, **{**ours, **sections})


def make_ppo(folder):
    """The task on a room whose models are there (by name, for processes that the tests start)."""
    return small(Path(folder)).task(reinforcing, "ppo")
