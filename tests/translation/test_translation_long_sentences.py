"""Test texts of 41 words and more: their slice is called "41+", a name that MLflow does not take."""

from __future__ import annotations

import random

import pytest

from components.engines.generation.decoding import Decoding
from components.engines.tracking.registry import version
from components.engines.tracking.store import opened, store_of
from components.translation.ingest import Ingest
from tests.committed_room import commit_room
from tests.translation.small import DATA, TRAIN, small

NOUNS = {"cat": "chat", "dog": "chien", "house": "logis", "tree": "arbre", "bird": "oiseau", "road": "chemin"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of the real room with a commit and a dvc.lock, with sentences of up to 60 words."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    draw, rows = random.Random(0), ["en\tfr"]
    for number in range(160):
        words = [*draw.choices(list(NOUNS), k=50 if number % 2 else 6), f"number{number}"]
        rows.append(" ".join(words) + "\t" + " ".join(NOUNS.get(word, word) for word in words))
    (tmp_path / "pairs.tsv").write_text("\n".join(rows) + "\n")
    return commit_room(tmp_path, "translation", "finetune")


def test_long_test_sentences_are_evaluated_and_registered(project):
    source = Ingest(
        source=str(project / "pairs.tsv"),
        fields={"source": "en", "target": "fr"},
        valid_fraction=0.15,
        test_fraction=0.2,
    )
    room = small(project, ingest=source).run_all(*DATA, *TRAIN)
    figures = room.evaluate()
    assert figures["slices"]["length"]["41+"]["count"] > 5
    room.run("register", decoding=Decoding(strategy="greedy", max_new_tokens=4))
    found = version(project, "translation", 1)
    bleu = figures["slices"]["length"]["41+"]["bleu"]
    assert float(found.tags["genworks.metric.slices.length.41plus.bleu"]) == pytest.approx(bleu)
    with opened(store_of(project)) as client:
        logged = client.get_run(found.run_id).data.metrics
    assert logged["slices.length.41plus.bleu"] == pytest.approx(bleu)
