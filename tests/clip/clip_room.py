"""The stages of clip called one after another, small, for tests."""

from components.clip.architecture import Architecture
from components.clip.clean import Clean, clean
from components.clip.evaluate import Evaluate, evaluate
from components.clip.ingest import Ingest, ingest
from components.clip.tokenizer import Tokenizer, tokenizer
from components.clip.train import Train, contrastive, train
from components.clip.validate import Validate, validate
from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext
from components.engines.training.params import Training

TRAINING = Training(
    max_steps=4, batch_size=16, learning_rate=1e-3, score_every=4, select_metric="valid_loss", num_threads=1
)
SMALL = Architecture(vision_width=16, vision_layers=1, text_width=16, text_layers=1, attention_heads=2, embedding_dim=8)


class Room:
    """The stages of clip called one after another, each with the paths of the one before."""

    def __init__(self, root, architecture=SMALL):
        self.root, self.architecture = root, architecture

    def context(self, stage):
        work = self.root / "work" / stage
        work.mkdir(parents=True)
        return StageContext("clip", stage, "key", work, self.root, {}, {})

    def data(self, params, **cleaning):
        root = self.root
        ingest(params, root / "images")
        clean(Clean(**cleaning), self.context("clean"), root / "images", root / "cleaned", root / "cleaning.json")
        checks = (root / "checks.html", root / "checked.json")
        validate(Validate(min_train_images=50), self.context("validate"), root / "cleaned", *checks)
        words = Tokenizer(vocab_size=400)
        tokenizer(words, self.architecture, root / "cleaned", root / "checked.json", root / "tokenizer")

    def train(self, training=TRAINING):
        root = self.root
        outs = (root / "model", root / "train_curve.csv")
        params = Train(training=training)
        train(params, self.architecture, self.context("train"), root / "cleaned", root / "tokenizer", *outs)

    def evaluate(self):
        root = self.root
        outs = [root / name for name in ("metrics.json", "scores.json", "scores.jsonl", "samples.jsonl", "gallery")]
        evaluate(Evaluate(), self.architecture, self.context("evaluate"), root / "cleaned", root / "model", *outs)
        return read_json(root / "metrics.json")


def sample(**changes):
    return Ingest(
        **{"num_train": 200, "num_test": 40, "valid_fraction": 0.1, "samples_per_shard": 60, "seed": 1, **changes}
    )


def make_task(folder, architecture=SMALL):
    """The contrastive task on a folder that `Room.data` made (by name, for processes that the tests start)."""
    from pathlib import Path

    return contrastive(Train(training=TRAINING), architecture, Path(folder) / "cleaned", Path(folder) / "tokenizer")
