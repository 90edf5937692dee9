"""Memory does not grow with the data set: four times as many pictures, held for a moment each, in the stages' own code."""

import json
import os
import tracemalloc
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from components.clip.measures.trial import Trial as ClipTrial
from components.engines.base.errors import UnusableRecords
from components.engines.base.evidence import keep_evidence
from components.engines.base.paths import read_jsonl
from components.engines.captioned import recaption
from components.engines.captioned.dataset import Captioned, CaptionedImages
from components.engines.captioned.ingest import ImageIngest, ingest_images
from components.engines.captioned.recaption import BEFORE
from components.engines.generation.decoding import Decoding
from components.engines.language.ingest import TextIngest, ingest_texts
from components.engines.shards.manifest import write_manifest
from components.engines.shards.writer import ShardWriter
from components.image_captioning.measures.trial import Trial as CaptioningTrial
from components.translation.ingest import Ingest as TranslationIngest
from components.translation.ingest import ingest as translation_ingest

PICTURE_BYTES = 200_000
FEW, MANY = 30, 120


def write(folder, count):
    """A data set whose pictures are `PICTURE_BYTES` each; nobody here decodes them."""
    shards = []
    for split in ("train", "valid", "test"):
        with ShardWriter(folder, split, samples_per_shard=10) as writer:
            for number in range(count):
                told = {
                    "print": {"pixels": f"{split} {number}"},
                    "relevance": 0.5,
                    BEFORE: {"caption": "old", "relevance": 0.1},
                }
                one = Captioned(f"{split}-{number:04d}", os.urandom(PICTURE_BYTES), f"caption {number}", told)
                writer.write(one.to_sample())
        shards += writer.shards
    write_manifest(folder, shards)
    return folder


class Looker:
    """Stands for an embedder and a captioner: takes pictures in pieces, as they do, and says next to nothing."""

    def embed_images(self, pictures):
        for start in range(0, len(pictures), 8):
            assert len(pictures[start : start + 8])
        return torch.ones(len(pictures), 8)

    def embed_texts(self, texts):
        return torch.ones(len(texts), 8)

    def caption(self, pictures, decoding, **_):
        self.embed_images(pictures)
        return [SimpleNamespace(text=f"said {number}") for number in range(len(pictures))]


def clip(folder, out):
    return ClipTrial(CaptionedImages(folder, "test"), Looker(), 0)


def captioning(folder, out):
    return CaptioningTrial(folder, Looker(), Looker(), decoding=Decoding(max_new_tokens=4), batch_size=64, seed=0)


def curation(folder, out):
    return recaption._figures(folder, folder), recaption._samples(folder, out)


@pytest.mark.parametrize("work", [clip, captioning, curation], ids=lambda work: work.__name__)
def test_no_stage_holds_the_pictures_of_a_data_set(work, tmp_path, monkeypatch):
    monkeypatch.setattr(Captioned, "open", lambda self: np.frombuffer(self.image, np.uint8).copy())
    folders = [write(tmp_path / str(count), count) for count in (FEW, FEW, MANY)]
    peaks = []
    for number, folder in enumerate(folders):  # the first one pays for imports
        tracemalloc.start()
        held = work(folder, tmp_path / f"out{number}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del held
    grown = peaks[2] - peaks[1]
    assert grown < 0.1 * (MANY - FEW) * PICTURE_BYTES, f"{peaks} bytes at the peak"


def sentence_pairs(source, out, max_bad_fraction):
    translation_ingest(
        TranslationIngest(source=str(source), fields={"source": "b", "target": "a"}, max_bad_fraction=max_bad_fraction),
        out,
    )


def captioned_images(source, out, max_bad_fraction):
    ingest_images(
        ImageIngest(source=str(source), fields={"image": "a", "caption": "b"}, max_bad_fraction=max_bad_fraction), out
    )


def texts(source, out, max_bad_fraction):
    params = TextIngest(source=str(source), fields={"text": "b", "more": "a"}, max_bad_fraction=max_bad_fraction)
    ingest_texts(params, out, ("more", "text"), sample=lambda: iter(()))


@pytest.mark.parametrize("max_bad_fraction", [1.0, 0.05])
@pytest.mark.parametrize("ingest", [sentence_pairs, captioned_images, texts], ids=lambda ingest: ingest.__name__)
def test_what_is_left_out_is_on_disk_and_not_in_memory(ingest, max_bad_fraction, tmp_path):
    pictures = [tmp_path / f"{number}.png" for number in range(100)]
    for picture in pictures:
        picture.write_text(picture.name)
    peaks, counts = [], (1_000, 1_000, 9_000)
    for number, count in enumerate(counts):  # the first one pays for imports
        source, out, kept = (tmp_path / f"{number}{name}" for name in (".jsonl", "", "-kept.jsonl"))
        lines = [json.dumps({"a": str(picture), "b": picture.stem}) for picture in pictures]
        source.write_text("\n".join([*lines, *['{"a": "no b"}'] * count]))
        tracemalloc.start()
        stopped = max_bad_fraction < 1
        with pytest.raises(UnusableRecords) if stopped else nullcontext() as caught:
            ingest(source, out, max_bad_fraction)
        if stopped:
            keep_evidence(caught.value, kept)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        listed = kept if stopped else out / "quarantined.jsonl"
        assert len(read_jsonl(listed)) == count
    grown = peaks[2] - peaks[1]
    assert grown < 50 * (counts[2] - counts[1]), f"{peaks} bytes at the peak"  # a record takes 350
