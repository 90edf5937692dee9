"""The stages of translation called one after another, small, for tests."""

from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.engines.training.params import Training
from components.translation.architecture import Architecture
from components.translation.clean import Clean, clean
from components.translation.evaluate import Evaluate, evaluate
from components.translation.finetune import Finetune, finetune
from components.translation.ingest import ingest
from components.translation.pretrain import Pretrain, pretrain
from components.translation.tokenizer import Tokenizer, tokenizer
from components.translation.validate import Validate, validate

TRAINING = Training(max_steps=6, batch_size=8, learning_rate=1e-3, select_metric="valid_loss", score_every=6)
SMALL = Architecture(d_model=16, ffn_dim=32, encoder_layers=1, decoder_layers=1, attention_heads=2)


class Room:
    """The stages of translation called one after another, each with the paths of the one before."""

    def __init__(self, root, architecture=SMALL):
        self.root, self.architecture = root, architecture

    def context(self, stage):
        work = self.root / "work" / stage
        work.mkdir(parents=True)
        return StageContext("translation", stage, "key", work, self.root, {}, {})

    def data(self, params, **cleaning):
        root = self.root
        ingest(params, root / "pairs")
        clean(Clean(**cleaning), self.context("clean"), root / "pairs", root / "cleaned", root / "cleaning.json")
        checks = (root / "checks.html", root / "checked.json")
        validate(Validate(min_train_pairs=50), self.context("validate"), root / "cleaned", *checks)

    def train(self, pretraining=True, **pretrain_params):
        root, shape = self.root, self.architecture
        words = Tokenizer(vocab_size=400)
        tokenizer(words, shape, root / "cleaned", root / "checked.json", root / "tokenizer")
        params = Pretrain(enabled=pretraining, training=TRAINING, **pretrain_params)
        outs = (root / "pretrained", root / "pretrain_curve.csv")
        pretrain(params, shape, self.context("pretrain"), root / "cleaned", root / "tokenizer", *outs)
        outs = (root / "model", root / "finetune_curve.csv")
        params = Finetune(training=TRAINING)
        finetune(params, shape, self.context("finetune"), root / "cleaned", root / "pretrained", *outs)

    def evaluate(self):
        root = self.root
        params = Evaluate(decoding=Decoding(strategy="beam", num_beams=2, max_new_tokens=12))
        names = ("metrics.json", "scores.json", "scores.jsonl", "samples.jsonl")
        outs = [root / name for name in names]
        evaluate(params, self.architecture, self.context("evaluate"), root / "cleaned", root / "model", *outs)
        return read_json(root / "metrics.json")
