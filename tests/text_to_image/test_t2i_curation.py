"""Filter and recaption: nothing is lost, the better caption stays, the figures are right, a rerun gives the same bytes."""

import csv
import shutil

import pytest
import torch
from PIL import Image

from components.engines.base.errors import StageError
from components.engines.base.paths import digest_path, read_json, read_jsonl, write_json
from components.engines.captioned.dataset import Captioned
from components.engines.captioned.filter import figures
from components.engines.captioned.marks import is_wrong
from components.engines.captioned.recaption import Recaptioner
from components.engines.generation.text import Generated
from components.engines.shards.manifest import read_manifest
from components.engines.shards.mapper import Rejected
from components.text_to_image.recaption import Recaption
from tests.text_to_image.taught import GREEDY, SPLITS, THRESHOLD, curating, figures_of, make_data, pairs, png


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("curation_data"))


@pytest.fixture(scope="module")
def curated(tmp_path_factory, data):
    """A room after both stages, which no test changes."""
    return curating(tmp_path_factory.mktemp("curated"), data).run_all("filter", "recaption")


def refused(room):
    """By key, the samples that recaption refused, as it wrote them."""
    rows = read_jsonl(room.data / "curated" / "rejected.jsonl")
    made = [Captioned.from_sample({"__key__": row["key"], "image": b"", "json": row["fields"]["json"]}) for row in rows]
    return {one.key: one for one in made}


def test_the_filter_marks_what_lies_below_the_threshold_and_keeps_everything_as_it_was(curated, data):
    before, after = pairs(data, "cleaned"), pairs(curated, "scored")
    assert list(after) == list(before)
    assert len(after) == sum(SPLITS.values())
    for key, one in after.items():
        known = {name: value for name, value in one.metadata.items() if name not in {"relevance", "marked"}}
        assert (one.image, one.caption, known) == (before[key].image, before[key].caption, before[key].metadata)
        assert one.metadata["marked"] == (one.metadata["relevance"] < THRESHOLD)
    assert 0 < sum(one.metadata["marked"] for one in after.values()) < len(after) / 2


def test_a_score_is_the_cosine_that_plain_transformers_gives(curated, data):
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    folder, shown = data.root / "data/clip/model", list(pairs(curated, "scored", ["valid"]).values())
    network, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=[one.open() for one in shown], return_tensors="pt")
    tokens = tokenizer([one.caption for one in shown], padding=True, return_tensors="pt")
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        output = network(pixel_values=pixels["pixel_values"], **inputs)
    expected = (output.image_embeds * output.text_embeds).sum(1).tolist()
    assert [one.metadata["relevance"] for one in shown] == pytest.approx(expected, abs=1e-5)


def test_the_table_of_scores_holds_what_training_could_see_with_the_truth(curated):
    with (curated.reports / "filter_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scored = pairs(curated, "scored", ["train", "valid"])
    assert [row["key"] for row in rows] == list(scored)
    for row, one in zip(rows, scored.values(), strict=True):
        assert row["split"] == one.key.split("-")[0]
        assert float(row["score"]) == pytest.approx(one.metadata["relevance"], abs=1e-6)
        assert row["wrong"] == str(int(is_wrong(one)))


def test_the_filters_figures_by_hand():
    told = [(0.9, False), (0.8, False), (0.3, False), (0.2, True), (0.1, True), (0.85, True)]
    rows = [{"key": str(n), "split": "train", "score": score, "wrong": wrong} for n, (score, wrong) in enumerate(told)]
    found = figures(rows, 0.5)
    assert (found["pairs"], found["marked"], found["yield"]) == (6, 3, 0.5)
    assert found["score_quantiles"]["0.50"] == pytest.approx(0.55)
    assert found["precision"] == pytest.approx(2 / 3)  # of .3, .2 and .1 the last two
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["auc"] == pytest.approx(7 / 9)  # .85 lies above .8 and .3
    assert (found["wrong_before"], found["precision_of_chance"]) == (0.5, 0.5)
    assert found["wrong_among_relevant"] == pytest.approx(1 / 3)
    unknown = figures([row | {"wrong": None} for row in rows], 0.5)
    assert unknown == {name: found[name] for name in ("threshold", "pairs", "marked", "yield", "score_quantiles")}


def test_where_nothing_is_marked_there_is_no_precision_to_tell_of():
    rows = [{"key": str(n), "split": "train", "score": 0.9, "wrong": n == 0} for n in range(4)]
    found = figures(rows, 0.5)
    assert found["marked"] == found["recall"] == 0
    assert "precision" not in found
    everything = figures(rows, 0.95)
    assert (everything["yield"], everything["recall"], everything["precision"]) == (0, 1, 0.25)
    assert "wrong_among_relevant" not in everything


def test_unchecked_images_are_not_filtered(tmp_path, data):
    write_json(tmp_path / "checked.json", {"success": False})
    with pytest.raises(StageError, match="data checks failed"):
        curating(tmp_path, data).run("filter", checked=tmp_path / "checked.json")
    assert not (tmp_path / "data/text_to_image/scored").exists()


class Spoken(Recaptioner):
    """Recaptioning with doubles for both models: a caption says its own cosine, and a picture's red value its new caption."""

    def __init__(self, params, threshold):
        self.params, self.threshold = params, threshold
        self.scorers = self.captioner = self.clip = self

    def caption(self, pictures, decoding, *, scored):
        reds = [picture.getpixel((0, 0))[0] for picture in pictures]
        return [Generated(f"{red / 100:.2f}" if red else "", 0.0, [], True) for red in reds]

    def pixels(self, pictures):
        return torch.zeros(len(pictures), 3, 1, 1)

    def scores(self, keys, pixels, captions, batch_size):
        return [float(caption or 0.9) for caption in captions]


def pair(key, old, new):
    told = {"name": key, "relevance": old, "marked": old < 0.5}
    return Captioned(key, png(Image.new("RGB", (1, 1), (round(new * 100), 0, 0))), f"{old:.2f}", told)


@pytest.mark.parametrize(
    ("old", "new", "taken"),
    [
        (0.2, 0.8, True),
        (0.2, 0.55, True),
        (0.2, 0.45, False),  # better, but below the threshold
        (0.4, 0.51, False),  # above it, but no gain of .15
        (-0.3, 0.5, True),  # at the threshold
        (0.2, 0.0, False),  # the captioner says nothing, however well that may score
    ],
)
def test_a_new_caption_is_taken_if_it_fits_and_gains_enough(old, new, taken):
    mapper = Spoken(Recaption(decoding=GREEDY, min_gain=0.15), 0.5)
    sound, marked = pair("sound", 0.6, 0.9), pair("marked", old, new)
    first, answer = mapper.apply([sound, marked])
    assert first == sound.to_sample()
    if taken:
        made = Captioned.from_sample(answer)
        assert made.caption == f"{new:.2f}"
        assert made.metadata["relevance"] == pytest.approx(new, abs=1e-6)
        assert made.metadata["before"] == {"caption": f"{old:.2f}", "relevance": old}
        assert made.image == marked.image
    else:
        assert isinstance(answer, Rejected)
        assert answer.sample == marked.to_sample()
        assert f"scores {new or 0.9:.3f}" in answer.detail


@pytest.mark.parametrize(("inclusive", "taken"), [(True, "a person at a table"), (False, "a man at a table")])
def test_new_captions_are_inclusive_before_they_are_scored(inclusive, taken):
    class Gendered(Spoken):
        def caption(self, pictures, decoding, *, scored):
            return [Generated("a man at a table", 0.0, [], True) for _ in pictures]

        def scores(self, keys, pixels, captions, batch_size):
            assert captions == [taken]
            return [1.0]

    (answer,) = Gendered(Recaption(decoding=GREEDY, inclusive=inclusive), 0.5).apply([pair("marked", 0.2, 0.8)])
    assert Captioned.from_sample(answer).caption == taken


def test_recaptioning_takes_wrong_captions_away_and_the_counts_add_up(curated):
    before, after, gone = pairs(curated, "scored"), pairs(curated, "curated"), refused(curated)
    assert after.keys() | gone.keys() == before.keys()
    assert not after.keys() & gone.keys()
    books = read_manifest(curated.data / "curated").funnel
    assert (books.seen, books.kept, sum(books.rejected.values())) == (len(before), len(after), len(gone))
    renewed = {key for key, one in after.items() if "before" in one.metadata}
    assert renewed | gone.keys() == {key for key, one in before.items() if one.metadata["marked"]}
    for key, one in after.items():
        assert one.metadata["relevance"] >= THRESHOLD
        if key in renewed:
            assert one.metadata["before"] == {
                "caption": before[key].caption,
                "relevance": before[key].metadata["relevance"],
            }
        else:
            assert one.to_sample() == before[key].to_sample()
    assert {key: one.metadata["relevance"] for key, one in gone.items()} == {
        key: before[key].metadata["relevance"] for key in gone
    }
    assert sum(is_wrong(one) for one in before.values()) == len(before) / 3
    assert sum(is_wrong(one) for one in after.values()) <= 2
    assert len(renewed) > len(before) / 4


def test_the_curations_figures_are_those_of_what_it_wrote(curated):
    found = read_json(curated.reports / "curation.json")
    before, after = (pairs(curated, folder, ["train", "valid"]) for folder in ("scored", "curated"))
    renewed = [one for one in after.values() if "before" in one.metadata]
    assert found["pairs"] == found["kept_as_found"] + found["recaptioned"] + found["refused"] == len(before)
    assert (found["recaptioned"], found["refused"]) == (len(renewed), len(before) - len(after))
    assert found["wrong_before"] == pytest.approx(1 / 3)
    assert found["wrong_after"] == pytest.approx(sum(is_wrong(one) for one in after.values()) / len(after))
    gains = [one.metadata["relevance"] - one.metadata["before"]["relevance"] for one in renewed]
    assert found["mean_gain"] == pytest.approx(sum(gains) / len(gains))
    assert found["mean_gain"] > 0.3


def test_samples_show_captions_before_and_after_beside_their_pictures(curated):
    rows, after = read_jsonl(curated.reports / "recaption_samples.jsonl"), pairs(curated, "curated", ["train"])
    assert 0 < len(rows) <= 12
    for row in rows:
        one = after[row["id"]]
        assert (row["fields"]["before"], row["fields"]["after"]) == (one.metadata["before"]["caption"], one.caption)
        assert (curated.reports / row["pictures"]["image"]).read_bytes() == one.image


@pytest.mark.parametrize("marked", ["keep", "drop"])
def test_kept_or_dropped_the_marked_pairs_need_no_models(tmp_path, curated, marked):
    room, nowhere = curating(tmp_path, curated), tmp_path / "models that nothing may load"
    found = figures_of(room, "recaption", marked=marked, clip_model=nowhere, image_captioning_model=nowhere)
    before, after = pairs(curated, "scored"), pairs(room, "curated")
    wanted = [key for key, one in before.items() if marked == "keep" or not one.metadata["marked"]]
    assert list(after) == wanted
    assert {key: one.to_sample() for key, one in after.items()} == {key: before[key].to_sample() for key in wanted}
    assert refused(room).keys() == before.keys() - after.keys()
    assert found["recaptioned"] == 0
    assert read_jsonl(room.reports / "recaption_samples.jsonl") == []


def test_captions_that_gain_too_little_are_refused(tmp_path, curated):
    room = curating(tmp_path, curated)
    found = figures_of(room, "recaption", min_gain=2.5)  # more than two cosines can lie apart
    assert found["recaptioned"] == 0
    assert not {"mean_gain", "wrong_recaptions"} & found.keys()
    assert refused(room).keys() == {key for key, one in pairs(curated, "scored").items() if one.metadata["marked"]}
    for row in read_jsonl(room.data / "curated" / "rejected.jsonl"):
        assert row["reason"] == "irrelevant"
        assert "scores" in row["detail"]


def test_run_again_or_resumed_both_stages_give_the_same_bytes(tmp_path, data, curated):
    room = curating(tmp_path, data)
    for stage, out in (("filter", "scored"), ("recaption", "curated")):
        room.run(stage)
        whole = digest_path(room.data / out)
        assert whole == digest_path(curated.data / out)
        done = sorted((tmp_path / "work" / stage / "map").glob("*.done"))
        assert len(done) == 6
        for mark in done[1::2]:  # as a kill leaves them: half of the shards unfinished
            mark.unlink()
        left = {mark: mark.stat().st_mtime_ns for mark in done[::2]}
        shutil.rmtree(room.data / out)
        room.run(stage)
        assert digest_path(room.data / out) == whole
        assert {mark: mark.stat().st_mtime_ns for mark in left} == left
