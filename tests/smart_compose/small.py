"""A smart_compose that is ready in seconds."""

from pathlib import Path

from components.engines.training.params import Training
from components.smart_compose.architecture import Architecture
from components.smart_compose.train import modelling
from tests.room import Room

TRAINING = Training(
    max_steps=24, batch_size=16, learning_rate=1e-2, score_every=12, select_metric="valid_loss", num_threads=1, checkpoint_every=8
)  # fmt: skip
SMALL = Architecture(width=32, layers=1, heads=2, max_tokens=96, context_tokens=40)
SAMPLE = {"num_train": 300, "num_test": 24, "valid_fraction": 0.15, "samples_per_shard": 100, "seed": 1}
TRIED = {"places_per_mail": 1, "typed_mails": 1, "num_samples": 6}
DATA = ("ingest", "scrub", "validate", "tokenizer")
MODEL = ("train", "calibrate")


def small(root, base=None, **sections):
    ours = {
        "architecture": SMALL,
        "ingest": SAMPLE,
        "validate": {"min_train": 50, "min_test": 5},
        "tokenizer": {"vocab_size": 500},
        "train": {"training": TRAINING},
        "calibrate": {"places_per_mail": 1},
        "evaluate": TRIED,
    }
    return Room("smart_compose", root, base, **{**ours, **sections})


def make_task(folder):
    """The task on a room whose data are there (by name, for processes that the tests start)."""
    return small(Path(folder)).task(modelling, "train")
