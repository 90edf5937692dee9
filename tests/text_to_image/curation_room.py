"""Filter and recaption on a small world of six colours, with a CLIP and a captioner that learn in seconds to tell them."""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from components.clip.architecture import Architecture as ClipShape
from components.clip.train import start as start_clip
from components.engines.base.paths import read_json, write_json
from components.engines.base.seeds import derive, seed_everything
from components.engines.base.stage import StageContext
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.captioned.tokenizer import CaptionTokenizer, write_tokenizer
from components.engines.generation.decoding import Decoding
from components.engines.shards.manifest import write_manifest
from components.engines.shards.writer import ShardWriter
from components.engines.worlds.scenes import COLOURS, Scene, describe, paint
from components.image_captioning.architecture import Architecture as CaptionerShape
from components.image_captioning.train import start as start_captioner
from components.text_to_image.filter import Filter, filter
from components.text_to_image.recaption import Recaption, recaption

PX = 16
CLIP = ClipShape(
    image_px=PX, vision_width=32, vision_layers=1, text_width=16, text_layers=1, attention_heads=2, embedding_dim=16
)
CAPTIONER = CaptionerShape(image_px=PX, encoder_width=32, text_width=32, text_layers=1, attention_heads=2)
GREEDY = Decoding(strategy="greedy", max_new_tokens=24)
SPLITS = {"train": 60, "valid": 24, "test": 12}
THRESHOLD = 0.37  # between wrong and right captions, for the taught CLIP
_STEPS = 80


class Room:
    """`data` holds what `make_data` wrote; everything else is written to `root`."""

    def __init__(self, root, data, cleaned=None, clip=None, captioner=None):
        self.root, self.data, self.cleaned = root, data, cleaned or data / "cleaned"
        self.clip, self.captioner = clip or data / "clip", captioner or data / "captioner"

    def context(self, stage):
        work = self.root / "work" / stage
        work.mkdir(parents=True, exist_ok=True)
        return StageContext("text_to_image", stage, "key", work, self.root, {}, {})

    def filter(self, threshold=THRESHOLD, checked=None):
        names = ("scored", "filtering.json", "filter_scores.csv", "filter_charts.json")
        outs = [self.root / name for name in names]
        context, checked = self.context("filter"), checked or self.data / "checked.json"
        filter(Filter(threshold=threshold), context, self.cleaned, checked, self.clip, *outs)
        return read_json(outs[1])

    def recaption(self, threshold=THRESHOLD, **params):
        names = ("curated", "curation.json", "recaption_samples.jsonl", "recaption_charts.json", "recaptioned")
        outs = [self.root / name for name in names]
        asked = Recaption(**{"decoding": GREEDY, **params})
        models = (self.clip, self.captioner)
        recaption(asked, Filter(threshold=threshold), self.context("recaption"), self.root / "scored", *models, *outs)
        return read_json(outs[1])

    def pairs(self, folder, splits=tuple(SPLITS)):
        """By key."""
        return {one.key: one for split in splits for one in CaptionedImages(self.root / folder, split)}


def scene_of(colour):
    return Scene(colour, "circle", "top left", "large", "plain")


def picture_of(colour, seed):
    return Image.fromarray(paint(scene_of(colour), PX, np.random.default_rng(derive(seed, colour))))


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def make_data(root):
    """`cleaned`: coloured circles, every third with another colour's caption; `clip` and `captioner`, which know the colours."""
    colours, shards = list(COLOURS), []
    for split, count in SPLITS.items():
        with ShardWriter(root / "cleaned", split, samples_per_shard=20) as writer:
            for number in range(count):
                shown = colours[number % 6]
                told = colours[(number + 1 + number // 6 % 5) % 6] if number % 3 == 0 else shown
                picture, truth = picture_of(shown, f"{split} {number}"), {"scene": scene_of(shown).as_dict()}
                known = {
                    "name": f"{number}",
                    "truth": truth,
                    "width": PX,
                    "height": PX,
                    "print": {"pixels": f"{number}"},
                }
                one = Captioned(f"{split}-{number:04d}", png(picture), describe(scene_of(told), 0), known)
                writer.write(one.to_sample())
        shards += writer.shards
    write_manifest(root / "cleaned", shards)
    write_json(root / "checked.json", {"success": True})
    write_tokenizer(CaptionTokenizer(), None, root / "cleaned", root / "checked.json", root / "tokenizer")
    teach_clip(root)
    teach_captioner(root)


def lesson(step):
    """A picture of each colour, with its caption."""
    return [picture_of(colour, f"lesson {step}") for colour in COLOURS], [describe(scene_of(c), 0) for c in COLOURS]


def teach_clip(root):
    embedder = start_clip(CLIP, root / "tokenizer", seed=0)
    optimizer = torch.optim.AdamW(embedder.network.parameters(), 3e-3)
    for step in range(_STEPS):
        pictures, captions = lesson(step)
        images, texts = (
            embedder.image_vectors(embedder.pixels(pictures)),
            embedder.text_vectors(embedder.tokens(captions)),
        )
        logits, own = 5 * images @ texts.T, torch.arange(len(pictures))
        loss = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    embedder.save(root / "clip")


def teach_captioner(root):
    captioner = start_captioner(CAPTIONER, root / "tokenizer", seed=0)
    network = captioner.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    seed_everything(0, "lessons")  # of its dropout
    for step in range(_STEPS):
        pictures, captions = lesson(step)
        tokens = captioner.tokens(captions, max_tokens=32)
        logits = network(captioner.pixels(pictures), **tokens).logits[:, :-1]
        targets = tokens["input_ids"][:, 1:].masked_fill(tokens["attention_mask"][:, 1:] == 0, -100)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    captioner.save(root / "captioner")
