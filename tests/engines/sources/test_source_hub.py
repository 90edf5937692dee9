"""Hugging Face datasets: saved folders, names and their options, streaming (a double stands for the hub)."""

import datasets
import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.hub import HubName, names_a_file, parse_name
from components.engines.sources.records import read_records

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = [{"id": 1, "translation": {"en": "a", "de": "b"}}, {"id": 2, "translation": {"en": "c", "de": None}}]
FIELDS = {"source": "translation.en", "target": "translation.de"}


def read(source):
    bad: list[dict] = []
    records = read_records(str(source), fields=FIELDS, required=tuple(FIELDS), funnel=Funnel(), on_bad=bad.append)
    return list(records), [row["reason"] for row in bad]


def test_saved_dataset_folder(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    expected = [{"source": "a", "target": "b"}], ["missing field"]
    assert read(tmp_path / "saved") == expected
    assert read(f"hf://{tmp_path / 'saved'}") == expected


def test_saved_dataset_dict_needs_a_split(tmp_path):
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "saved")
    with pytest.raises(UsageError, match=r"splits train.*saved/train"):
        read(tmp_path / "saved")
    assert read(tmp_path / "saved/train")[0] == read(f"hf://{tmp_path / 'saved'}?split=train")[0]


def test_images_stay_undecoded(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    rows = [{"image": {"bytes": b"not a picture", "path": None}, "caption": "a"}]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "saved")
    (record,) = read_records(str(tmp_path / "saved"), fields={}, funnel=Funnel(), on_bad=print)
    assert record["image"]["bytes"] == b"not a picture"


def test_hub_dataset_is_streamed_with_its_options(monkeypatch):
    asked = []

    def load_dataset(path, name, **options):
        asked.append((path, name, options))
        return datasets.IterableDataset.from_generator(lambda: iter(ROWS))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    records, bad = read(f"hf://Helsinki-NLP/opus_books@{COMMIT}?config=de-en&split=validation")
    assert records == [{"source": "a", "target": "b"}]
    assert bad == ["missing field"]
    options = {"split": "validation", "revision": COMMIT, "streaming": True}
    assert asked == [("Helsinki-NLP/opus_books", "de-en", options)]


@pytest.mark.parametrize(
    ("raised", "kind"), [(ValueError("Unknown split 'x'"), UsageError), (ConnectionError("offline"), StageError)]
)
def test_hub_failures_are_one_clear_error(monkeypatch, raised, kind):
    def load_dataset(*_, **__):
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(kind, match=str(raised)):
        read(f"hf://owner/name@{COMMIT}")


@pytest.mark.parametrize("source", ["hf://owner/name", "hf://owner/name@main", "hf://owner/name?split=train"])
def test_a_hub_dataset_without_its_commit_is_refused(source):
    with pytest.raises(UsageError, match=r"so what is read may change.*write owner/name@"):
        read(source)


def test_names():
    assert parse_name("hf://datasets/owner/name?split=test") == HubName("owner/name", None, None, "test")
    assert names_a_file("hf://datasets/owner/name/data/train.parquet")
    assert not names_a_file("hf://owner/name")
    with pytest.raises(UsageError, match="splt"):
        parse_name("hf://owner/name?splt=test")
    with pytest.raises(UsageError, match="no dataset"):
        parse_name("hf://")
