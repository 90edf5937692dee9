"""SYSTEM's stages one after another, small: what they write, learn and serve."""

from pathlib import Path

import pytest

from components.engines.base.params import load_section, read_yaml
from components.engines.base.paths import read_json, read_jsonl, write_json
from components.engines.base.stage import StageContext
from components.engines.serving.pipeline import SETTINGS
from components.SYSTEM.architecture import Architecture
from components.SYSTEM.clean import Clean, clean
from components.SYSTEM.evaluate import Evaluate, evaluate
from components.SYSTEM.ingest import Ingest, ingest
from components.SYSTEM.serve import Continuer
from components.SYSTEM.tokenizer import Tokenizer, tokenizer
from components.SYSTEM.train import Train, train
from components.SYSTEM.validate import Validate, validate
from tests.declared_figures import unwritten

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The folder that all stages up to evaluate have written into, by the params of params.yaml but for sizes."""
    root = tmp_path_factory.mktemp("SYSTEM")

    def of(kind, stage):
        return load_section(kind, f"SYSTEM.{stage}", PARAMS)

    def context(stage):
        work = root / "work" / stage
        work.mkdir(parents=True)
        return StageContext("SYSTEM", stage, "key", work, root, {}, {})

    shape, data, cleaned = of(Architecture, "architecture"), root / "texts", root / "cleaned"
    ingest(of(Ingest, "ingest").model_copy(update={"num_train": 600, "num_test": 40}), data)
    clean(of(Clean, "clean"), context("clean"), data, cleaned, root / "cleaning.json")
    validate(of(Validate, "validate"), context("validate"), cleaned, root / "checks.html", root / "checked.json")
    tokenizer(of(Tokenizer, "tokenizer"), shape, cleaned, root / "checked.json", root / "tokenizer")
    params = of(Train, "train")
    params = params.model_copy(update={"training": params.training.model_copy(update={"max_steps": 40})})
    train(params, shape, context("train"), cleaned, root / "tokenizer", root / "model", root / "train_curve.csv")
    names = ["metrics.json", "scores.json", "scores.jsonl", "samples.jsonl"]
    outs = [root / name for name in names]
    evaluate(of(Evaluate, "evaluate"), shape, context("evaluate"), cleaned, root / "model", *outs)
    return root


def test_every_record_is_kept_or_has_a_reason(room):
    counts = read_json(room / "cleaning.json")
    assert counts["seen"] == counts["kept"] + sum((counts["rejected"] | counts["quarantined"]).values())


def test_the_model_beats_its_baselines_and_every_declared_figure_is_written(room):
    figures = read_json(room / "metrics.json")
    assert figures["perplexity"] < figures["perplexity_unigram"]
    assert unwritten("SYSTEM", figures) == []
    assert len(read_jsonl(room / "scores.jsonl")) == figures["test_texts"]


def test_what_is_served_answers_and_says_what_it_cannot_use(room):
    settings = read_yaml(PARAMS)["SYSTEM"]["register"]
    write_json(room / "model" / SETTINGS, settings)
    good, bad = Continuer.load(room / "model").predict([{"text": "today the old"}, {"text": "x" * 10_000}])
    assert isinstance(good["continuation"], str)
    assert good["problem"] is None
    assert bad["continuation"] is None
    assert bad["problem"]
