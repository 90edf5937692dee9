"""What rooms declare of their figures is what they write, and a figure that loses to its trivial baseline is told."""

from pathlib import Path

import pytest

from components.engines.base.errors import UsageError
from flows.figures import in_order
from flows.headlines import Declared, declared, headline, lost_to_trivial

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(path.parent.name for path in (ROOT / "components").glob("*/evaluate.py"))


@pytest.fixture
def root(tmp_path):
    room = tmp_path / "components/toy/measures"
    room.mkdir(parents=True)
    (room / "figures.yaml").write_text(
        "headline:\n  bleu: {means: overlap, trivial: {bleu_copied: source copied, bleu_empty: nothing said}}\n"
        "  fid: {means: distance, better: lower, trivial: {fid_noise: noise}}\n"
        "groups:\n  - {title: Others, means: the rest, figures: [chrf*]}\n"
    )
    return tmp_path


def test_a_figure_that_beats_its_baselines_is_not_told(root):
    assert lost_to_trivial(root, "toy", {"bleu": 5.0, "bleu_copied": 4.0, "fid": 1.0, "fid_noise": 2.0}) == []


def test_a_figure_that_loses_is_told_with_both_numbers_whichever_way_is_better(root):
    told = lost_to_trivial(
        root, "toy", {"bleu": 2.1, "bleu_copied": 14.46, "bleu_empty": 0.0, "fid": 3.0, "fid_noise": 2.0}
    )
    assert told == [
        "bleu 2.1 is no better than its trivial baseline (source copied: 14.5)",
        "fid 3 is no better than its trivial baseline (noise: 2)",
    ]


def test_a_tie_is_a_loss_and_figures_that_a_run_did_not_write_are_left_out(root):
    assert lost_to_trivial(root, "toy", {"bleu": 0.0, "bleu_copied": 0.0, "bleu_empty": 0.0})
    assert [one.name for one in headline(root, "toy", {"fid": 1.0})] == ["fid"]
    assert lost_to_trivial(root, "unknown", {"bleu": 0.0}) == []


def test_a_wrong_key_is_named(root):
    (root / "components/toy/measures/figures.yaml").write_text("headline:\n  bleu: {meaning: overlap}\n")
    with pytest.raises(UsageError, match=r"figures\.headline\.bleu\.meaning"):
        declared(root, "toy")


def test_every_figure_is_shown_once_in_the_first_group_that_wants_it():
    groups = [{"title": "a", "means": "", "figures": ["x_*", "x"]}, {"title": "b", "means": "", "figures": ["*_1"]}]
    found = Declared.model_validate({"groups": groups}).groups_of(["x_1", "x", "y_1", "z"])
    assert [(group.title, names) for group, names in found] == [
        ("a", ["x_1", "x"]),
        ("b", ["y_1"]),
        ("Other figures", ["z"]),
    ]


def test_buckets_stand_in_the_order_of_their_numbers():
    assert sorted(["11-20", "1-5", "41+", "6-10", "0", "21-40"], key=in_order) == [
        "0",
        "1-5",
        "6-10",
        "11-20",
        "21-40",
        "41+",
    ]
    assert sorted(["guidance 10", "student", "guidance 3"], key=in_order) == ["guidance 3", "guidance 10", "student"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_its_headline_means_and_what_it_must_beat(room):
    found = declared(ROOT, room).headline
    assert found
    assert any(one.trivial for one in found.values())
