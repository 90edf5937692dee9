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
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.captioned.folds import write_recipe
from components.engines.captioned.tokenizer import write_tokenizer
from components.engines.generation.decoding import Decoding
from components.engines.language.bpe import Vocabulary
from components.engines.shards.manifest import write_manifest
from components.engines.shards.writer import ShardWriter
from components.engines.worlds.scenes import COLOURS, Scene, describe, paint
from components.image_captioning.architecture import Architecture as CaptionerShape
from components.image_captioning.train import start as start_captioner
from tests.room import Room

PX = 16
CLIP = ClipShape(
    image_px=PX, vision_width=32, vision_layers=1, text_width=16, text_layers=1, attention_heads=2, embedding_dim=16
)
CAPTIONER = CaptionerShape(image_px=PX, encoder_width=32, text_width=32, text_layers=1, attention_heads=2)
GREEDY = Decoding(strategy="greedy", max_new_tokens=24)
SPLITS = {"train": 60, "valid": 24, "test": 12}
THRESHOLD = 0.37  # between wrong and right captions, for the taught CLIP
_STEPS = 80


def curating(root, data, **sections):
    """A room that filters and recaptions what `data` (of `make_data`) holds."""
    ours = {"filter": {"threshold": THRESHOLD}, "recaption": {"decoding": GREEDY}}
    return Room("text_to_image", root, data, **{**ours, **sections})


def figures_of(room, stage, **given):
    """What a stage counts, after a run."""
    return read_json(room.run(stage, **given)[{"filter": "filtering", "recaption": "curation"}[stage]])


def pairs(room, folder, splits=tuple(SPLITS)):
    """By key."""
    return {one.key: one for split in splits for one in CaptionedImages(room.data / folder, split)}


def scene_of(colour):
    return Scene(colour, "circle", "top left", "large", "plain")


def picture_of(colour, seed):
    return Image.fromarray(paint(scene_of(colour), PX, np.random.default_rng(derive(seed, colour))))


def png(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def make_data(root):
    """Coloured circles, every third with another colour's caption, beside a CLIP and a captioner that know the colours."""
    room = Room("text_to_image", root)
    cleaned, checked, clip = room.data / "cleaned", room.reports / "checked.json", root / "data/clip"
    colours, shards = list(COLOURS), []
    for split, count in SPLITS.items():
        with ShardWriter(cleaned, split, samples_per_shard=20) as writer:
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
    write_manifest(cleaned, shards)
    write_json(checked, {"success": True})
    write_tokenizer(Vocabulary(), None, cleaned, checked, clip / "tokenizer")
    write_recipe(clip / "recipe.json", None, 32, None)  # no training: taught below, on other pictures
    (clip / "cleaned").symlink_to(cleaned)
    teach_clip(clip / "tokenizer", clip / "model")
    teach_captioner(clip / "tokenizer", root / "data/image_captioning/model")
    return room


def lesson(step):
    """A picture of each colour, with its caption."""
    return [picture_of(colour, f"lesson {step}") for colour in COLOURS], [describe(scene_of(c), 0) for c in COLOURS]


def teach_clip(tokenizer, folder):
    embedder = start_clip(CLIP, tokenizer, seed=0)
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
    embedder.save(folder)


def teach_captioner(tokenizer, folder):
    captioner = start_captioner(CAPTIONER, tokenizer, seed=0)
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
    captioner.save(folder)
