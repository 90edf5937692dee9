"""The stages of image captioning called one after another, small, for tests."""

from components.clip.architecture import Architecture as ClipArchitecture
from components.clip.train import start as start_clip
from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.engines.training.params import Training
from components.image_captioning.architecture import Architecture
from components.image_captioning.clean import Clean, clean
from components.image_captioning.evaluate import Evaluate, evaluate
from components.image_captioning.ingest import Ingest, ingest
from components.image_captioning.tokenizer import Tokenizer, tokenizer
from components.image_captioning.train import Train, train
from components.image_captioning.validate import Validate, validate

TRAINING = Training(
    max_steps=3, batch_size=16, learning_rate=1e-3, score_every=3, select_metric="valid_loss", num_threads=1
)
SMALL = Architecture(encoder_width=16, text_width=16, text_layers=1, attention_heads=2)
SMALL_CLIP = ClipArchitecture(
    vision_width=16, vision_layers=1, text_width=16, text_layers=1, attention_heads=2, embedding_dim=8
)
DECODING = Decoding(strategy="beam", num_beams=2, max_new_tokens=24)


class Room:
    """The stages of image captioning called one after another, each with the paths of the one before."""

    def __init__(self, root, architecture=SMALL):
        self.root, self.architecture = root, architecture

    def context(self, stage):
        work = self.root / "work" / stage
        work.mkdir(parents=True)
        return StageContext("image_captioning", stage, "key", work, self.root, {}, {})

    def data(self, params, **cleaning):
        root = self.root
        ingest(params, root / "images")
        clean(Clean(**cleaning), self.context("clean"), root / "images", root / "cleaned", root / "cleaning.json")
        checks = (root / "checks.html", root / "checked.json")
        validate(Validate(min_train_images=50), self.context("validate"), root / "cleaned", *checks)
        self.words()

    def words(self):
        root, sizes = self.root, Tokenizer(vocab_size=400)
        tokenizer(sizes, self.architecture, root / "cleaned", root / "checked.json", root / "tokenizer")

    def train(self, training=TRAINING, **params):
        root = self.root
        outs = (root / "model", root / "train_curve.csv")
        params = Train(training=training, **params)
        train(params, self.architecture, self.context("train"), root / "cleaned", root / "tokenizer", *outs)

    def clip(self, tokenizer_folder=None):
        """An untrained scorer: what evaluation needs of another room."""
        start_clip(SMALL_CLIP, tokenizer_folder or self.root / "tokenizer", seed=0).save(self.root / "clip")

    def evaluate(self):
        root = self.root
        names = ("metrics.json", "scores.json", "scores.jsonl", "samples.jsonl", ".gallery.partial")
        outs = [root / name for name in names]
        params = Evaluate(decoding=DECODING, num_samples=6)
        inputs = (root / "cleaned", root / "model", root / "clip")
        evaluate(params, self.architecture, self.context("evaluate"), *inputs, *outs)
        (root / ".gallery.partial").rename(root / "gallery")  # as the stage runner does at the end
        return read_json(root / "metrics.json")


def sample(**changes):
    return Ingest(
        **{
            "num_train": 200, "num_test": 40, "valid_fraction": 0.1, "samples_per_shard": 60, "seed": 1,
            "wrong_captions": 0.0, **changes,
        }
    )  # fmt: skip
