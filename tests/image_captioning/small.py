"""A captioner that is ready in seconds."""

from components.clip.train import start as start_clip
from components.engines.generation.decoding import Decoding
from components.engines.training.params import Training
from components.image_captioning.architecture import Architecture
from tests.clip.small import SAMPLE
from tests.clip.small import SMALL as SMALL_CLIP
from tests.room import Room

TRAINING = Training(
    max_steps=3, batch_size=16, learning_rate=1e-3, score_every=3, select_metric="valid_loss", num_threads=1
)
SMALL = Architecture(encoder_width=16, text_width=16, text_layers=1, attention_heads=2)
DECODING = Decoding(strategy="beam", num_beams=2, max_new_tokens=24)


def small(root, base=None, **sections):
    ours = {
        "architecture": SMALL,
        "ingest": SAMPLE | {"wrong_captions": 0.0},
        "validate": {"min_train_images": 50},
        "tokenizer": {"vocab_size": 400},
        "train": {"training": TRAINING},
        "evaluate": {"decoding": DECODING, "num_samples": 6},
    }
    return Room("image_captioning", root, base, **{**ours, **sections})


def with_clip(room):
    """The room beside an untrained scorer: what evaluation needs of another room."""
    tokenizer = room.at("data/image_captioning/tokenizer")
    start_clip(SMALL_CLIP, tokenizer, seed=0).save(room.root / "data/clip/model")
    return room
