"""Ingest, clean and validate as a user meets them: on the sample grammar and on tables of their own."""

import json
from pathlib import Path

import pytest

from components.engines.base.errors import GenworksError, StageError, UnusableRecords, UsageError
from components.engines.base.paths import digest_path, read_json, read_jsonl
from components.engines.base.stage import StageContext
from components.engines.language.pairs import Pair, Pairs
from components.engines.shards.manifest import read_manifest
from components.engines.sources.splits import SPLITS
from components.engines.text.normalization import normalise
from components.translation.clean import Clean, PairCheck, clean, in_script
from components.translation.ingest import FIELDS, Ingest, ingest
from components.translation.validate import Validate, validate

NTREX = Path(__file__).resolve().parents[3] / "shared/data/translation/ntrex_en_de_fr_es.tsv"
needs_ntrex = pytest.mark.skipif(not NTREX.is_file(), reason="the shared real data sets are not beside this checkout")


def context(tmp_path, stage="clean"):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return StageContext("translation", stage, "key", work, tmp_path, {}, {})


def table(tmp_path, rows, name="pairs.tsv"):
    path = tmp_path / name
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def small_sample(tmp_path, **more):
    ingest(
        Ingest(num_train=600, num_test=40, dirt_fraction=0.15, max_bad_fraction=0.2, samples_per_shard=150, **more),
        tmp_path / "pairs",
    )
    return tmp_path / "pairs"


def reasons(pair_texts, **params):
    check = PairCheck(Clean(**params))
    return [check.reason_against(dict(zip(FIELDS, texts, strict=True))) for texts in pair_texts]


def test_the_books_of_ingest_add_up_and_equal_params_give_equal_bytes(tmp_path):
    first = small_sample(tmp_path)
    funnel = read_manifest(first).funnel
    assert funnel.seen == funnel.kept + sum(funnel.quarantined.values())
    assert funnel.quarantined["missing field"] == len(read_jsonl(first / "quarantined.jsonl")) > 0
    (tmp_path / "again").mkdir()
    assert digest_path(small_sample(tmp_path / "again")) == digest_path(first)


def test_columns_of_a_real_table_are_mapped_and_equal_sentences_stay_on_one_side(tmp_path):
    rows = [("id", "en", "de"), *[(str(i), f"sentence {i % 150} is here", f"Satz {i} ist hier") for i in range(300)]]
    source = table(tmp_path, rows)
    ingest(Ingest(source=str(source), fields={"source": "en", "target": "de"}), tmp_path / "pairs")
    sides = {split: {pair.source for pair in Pairs(tmp_path / "pairs", split)} for split in SPLITS}
    assert all(sides.values())
    assert not sides["train"] & sides["test"]
    assert not sides["train"] & sides["valid"]


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (None, {}, "pairs.tsv"),
        (b"", {}, "empty"),
        (b"en\tde\na\tb\n", {"source": "english"}, "english"),
        (bytes(range(256)) * 40, {}, "pairs.tsv"),
    ],
)
def test_unusable_sources_are_one_clear_error(tmp_path, content, fields, said):
    path = tmp_path / "pairs.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GenworksError) as caught:
        ingest(Ingest(source=str(path), fields={"source": "en", "target": "de", **fields}), tmp_path / "pairs")
    assert said in str(caught.value)
    assert caught.value.do


def test_broken_lines_are_quarantined_and_too_many_stop_the_run(tmp_path):
    good = [f"sentence number {i}\tSatz Nummer {i}\n".encode() for i in range(200)]
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"source\ttarget\n" + b"".join(good) + b"caf\xe9 closed\tgeschlossen\n" + b"only one cell\n")
    ingest(Ingest(source=str(path)), tmp_path / "pairs")
    assert sum(read_manifest(tmp_path / "pairs").funnel.quarantined.values()) == 2
    path.write_bytes(b"source\ttarget\n" + b"".join(good) + b"caf\xe9\tx\n" * 100)
    with pytest.raises(StageError, match="max_bad_fraction"):
        ingest(Ingest(source=str(path)), tmp_path / "pairs2")


def test_too_few_pairs_for_a_split_says_what_to_do(tmp_path):
    source = table(tmp_path, [("source", "target"), ("one", "eins")])
    with pytest.raises(StageError, match="No records for"):
        ingest(Ingest(source=str(source)), tmp_path / "pairs")


def test_cleaning_catches_the_labelled_dirt_and_little_else(tmp_path):
    pairs = small_sample(tmp_path)
    clean(
        Clean(max_length_ratio=2.0, target_script="latin"),
        context(tmp_path),
        pairs,
        tmp_path / "cleaned",
        tmp_path / "cleaning.json",
    )
    figures = read_json(tmp_path / "cleaning.json")
    assert figures["dirt_recall"] >= 0.9
    assert figures["dirt_precision"] >= 0.95
    assert figures["seen"] == figures["kept"] + sum(figures["rejected"].values())
    assert len(read_jsonl(tmp_path / "cleaned/rejected.jsonl")) == sum(figures["rejected"].values())


@pytest.mark.parametrize(
    ("pair", "params", "reason"),
    [
        (("", "x"), {}, "empty"),
        (("a b c d", "a b c d"), {}, "copied"),
        (("Berlin", "Berlin"), {}, None),
        (("a b c d e f g h", "x y"), {}, "length ratio"),
        (("one", "x y z"), {}, None),
        (("Yes, he said", "\u00ab Oui \u00bb , dit - il ! ! !"), {}, None),
        (("\u2026", "..."), {}, None),
        (("w " * 300, "w " * 300 + "x"), {}, "too long"),
        (("a house", "дом"), {"target_script": "latin"}, "wrong script"),
        (("a house", "дом"), {"target_script": "cyrillic"}, None),
        (
            ("Das ist ein ganz normaler deutscher Satz über das Wetter", "x y z u v w"),
            {"source_language": "en"},
            "wrong language",
        ),
        (("This is a perfectly normal English sentence about rain", "x y z u v w"), {"source_language": "en"}, None),
    ],
)
def test_each_rule_of_cleaning(pair, params, reason):
    assert reasons([pair], **params) == [reason]


def cleaned_news(tmp_path, column, **params):
    """Real news sentences through ingest and clean: the counts."""
    ingest(Ingest(source=str(NTREX), fields={"source": "en", "target": column}), tmp_path / "pairs")
    clean(Clean(**params), context(tmp_path), tmp_path / "pairs", tmp_path / "cleaned", tmp_path / "cleaning.json")
    return read_json(tmp_path / "cleaning.json")


@needs_ntrex
@pytest.mark.parametrize("language", ["de", "fr", "es"])
def test_real_sentences_are_not_taken_for_another_language(tmp_path, language):
    books = cleaned_news(tmp_path, language, source_language="en", target_language=language)
    assert books["rejected"].get("wrong language", 0) == 0
    assert books["kept_fraction"] > 0.98


@needs_ntrex
def test_a_column_in_another_language_is_found_and_stops_the_stage_with_its_reasons(tmp_path):
    from components.engines.text.language import count_words

    with pytest.raises(UnusableRecords, match=r"max_rejected_fraction 0\.5 \(wrong language: 9\d\d") as caught:
        cleaned_news(tmp_path, "es", source_language="en", target_language="fr")
    found = [row for row in caught.value.records if row["reason"] == "wrong language"]
    assert f"wrong language ({found[0]['key']}: {found[0]['source'][:40]}" in str(caught.value)
    long = [pair for split in SPLITS for pair in Pairs(tmp_path / "pairs", split) if count_words(pair.target) >= 6]
    assert len(found) >= 0.98 * len(long)


def test_training_pairs_whose_source_is_held_out_are_dropped(tmp_path):
    rows = [("source", "target")]
    rows += [(f"sentence{' ' * (1 + i // 150)}number {i % 150}", f"Satz Nummer {i}") for i in range(450)]
    ingest(Ingest(source=str(table(tmp_path, rows)), valid_fraction=0.1), tmp_path / "pairs")
    clean(Clean(), context(tmp_path), tmp_path / "pairs", tmp_path / "cleaned", tmp_path / "cleaning.json")
    sides = {split: {pair.source for pair in Pairs(tmp_path / "cleaned", split)} for split in SPLITS}
    assert not sides["train"] & (sides["valid"] | sides["test"])
    assert read_json(tmp_path / "cleaning.json")["rejected"]["held out"] > 0


def test_normalising_composes_and_collapses():
    assert normalise("e\u0301t\u00e9 \t\x00 x\n") == "\u00e9t\u00e9 x"
    assert in_script("123 ...", "latin")


def test_a_failed_check_names_the_expectation_shows_rows_and_keeps_the_page(tmp_path):
    from components.engines.shards.manifest import write_manifest
    from components.engines.shards.writer import ShardWriter

    shards = []
    for split in SPLITS:
        with ShardWriter(tmp_path / "cleaned", split) as writer:
            for i in range(150):
                target = "" if (split, i) == ("train", 7) else f"Text {split} {i}"
                writer.write(Pair(f"{split}{i:04d}", f"text {split} {i}", target, {}).to_sample())
        shards += writer.shards
    write_manifest(tmp_path / "cleaned", shards)
    with pytest.raises(StageError) as caught:
        validate(
            Validate(),
            context(tmp_path, "validate"),
            tmp_path / "cleaned",
            tmp_path / "checks.html",
            tmp_path / "checked.json",
        )
    assert "target" in str(caught.value)
    assert "text train 7" in str(caught.value)
    assert (tmp_path / "reports/translation/failed_checks.html").read_text().count("<html") == 1


def test_wrong_types_and_keys_are_refused_by_name(tmp_path):
    from components.engines.base.params import parse_section

    with pytest.raises(UsageError, match=r"translation\.ingest\.num_train"):
        parse_section(Ingest, {"num_train": "many"}, "translation.ingest", tmp_path)
    with pytest.raises(UsageError, match=r"translation\.ingest\.fields.*sauce"):
        parse_section(Ingest, {"fields": {"sauce": "x"}}, "translation.ingest", tmp_path)


def test_samples_survive_the_trip_to_disk():
    pair = Pair("00000001", "naïve “quotes” 🙂", "مرحبا", {"dirt": ""})
    assert Pair.from_sample(json.loads(json.dumps({"__key__": pair.key})) | pair.to_sample()) == pair
