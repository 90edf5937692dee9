"""A translator that is ready in seconds."""

from components.engines.generation.decoding import Decoding
from components.engines.training.params import Training
from components.translation.architecture import Architecture
from tests.room import Room

TRAINING = Training(max_steps=6, batch_size=8, learning_rate=1e-3, select_metric="valid_loss", score_every=6)
SMALL = Architecture(d_model=16, ffn_dim=32, encoder_layers=1, decoder_layers=1, attention_heads=2)
DECODING = Decoding(strategy="beam", num_beams=2, max_new_tokens=12)
DATA = ("ingest", "clean", "validate", "tokenizer")
TRAIN = ("pretrain", "finetune")


def small(root, pretraining=None, **sections):
    """`pretraining`: what is to be said of it; it is left out without."""
    ours = {
        "architecture": SMALL,
        "validate": {"min_train": 50},
        "tokenizer": {"vocab_size": 400},
        "pretrain": {"training": TRAINING, "enabled": pretraining is not None, **(pretraining or {})},
        "finetune": {"training": TRAINING},
        "evaluate": {"decoding": DECODING},
    }
    return Room("translation", root, **{**ours, **sections})
