"""A clip that is ready in seconds."""

from pathlib import Path

from components.clip.architecture import Architecture
from components.clip.train import contrastive
from components.engines.training.params import Training
from tests.room import Room

TRAINING = Training(
    max_steps=4, batch_size=16, learning_rate=1e-3, score_every=4, select_metric="valid_loss", num_threads=1
)
SMALL = Architecture(vision_width=16, vision_layers=1, text_width=16, text_layers=1, attention_heads=2, embedding_dim=8)
SAMPLE = {"num_train": 200, "num_test": 40, "valid_fraction": 0.1, "samples_per_shard": 60, "seed": 1}
DATA = ("ingest", "clean", "validate", "tokenizer")


def small(root, base=None, **sections):
    ours = {"architecture": SMALL, "ingest": SAMPLE, "train": {"training": TRAINING}, "tokenizer": {"vocab_size": 400}}
    return Room("clip", root, base, **{**ours, "validate": {"min_train_images": 50}, **sections})


def make_task(folder):
    """The contrastive task on a room whose data are there (by name, for processes that the tests start)."""
    return small(Path(folder)).task(contrastive, "train")
