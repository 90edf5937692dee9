"""Comparisons: arms and seeds as experiments, nothing run twice, bars judged, results written."""

from __future__ import annotations

import json

import pytest

from components.engines.base.errors import UsageError
from flows import comparisons, dag
from flows.execute import is_chatter
from tests.flows.registering_toy import commit
from tests.flows.toy_project import clear_runs, edit, genworks, runs_of


@pytest.mark.slow
def test_compare_measures_judges_and_remembers(toy):
    edit(toy / "components/toy/params.py", "    seed: int\n", "    seed: int = 0\n")
    edit(toy / "params.yaml", "    seed: 0\n", "")  # what a comparison sets need not be listed
    commit(toy, "run")
    params = (toy / "params.yaml").read_text()
    done = genworks(toy, "compare", "toy", "factor", "--json")
    assert done.returncode == 0, done.stderr
    arms = json.loads(done.stdout)["factor"]["arms"]
    assert (arms["two"]["total"]["median"], arms["three"]["total"]["median"]) == (26, 32)
    assert (toy / "params.yaml").read_text() == params
    assert "double says hello" in done.stderr
    assert runs_of(toy) == []  # elsewhere: the workspace is not touched

    edit(
        toy / "components/toy/comparisons.yaml",
        "seeds: {keys: [toy.join.seed], values: [0, 1]}",
        "seeds: {keys: [toy.join.seed], values: [0, 1, 2]}",
    )
    again = genworks(toy, "compare", "toy", "factor")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("measured before") == 4
    assert again.stderr.count(": done") == 2
    page = (toy / "docs/results/toy.md").read_text()
    assert "| total | three | 32 | 32 – 32 | 3 |" in page
    assert "torch" in page

    edit(toy / "components/toy/wheels.py", "number**power", "number**power + 1")  # other code, other experiments
    changed = genworks(toy, "compare", "toy", "bars", "--json")
    assert changed.returncode == 1, changed.stderr  # a bar is missed
    bars = {bar["metric"]: bar["met"] for bar in json.loads(changed.stdout)["bars"]["bars"]}
    assert bars == {"total": True, "noisy": False}
    assert json.loads(changed.stdout)["bars"]["arms"]["default"]["total"]["median"] == 30
    assert set(json.loads((toy / "docs/results/toy.json").read_text())) == {"bars", "factor"}


@pytest.mark.slow
def test_an_arm_of_what_is_in_effect_already_runs_no_stage_again(toy):
    """Listed or by default: a seed that is set to the model's default is no other seed."""
    edit(toy / "components/toy/params.py", "    seed: int\n", "    seed: int = 0\n")
    edit(toy / "params.yaml", "    seed: 0\n", "")
    commit(toy, "run")
    assert genworks(toy, "run", "toy").returncode == 0
    commit(toy, "ran")
    done = genworks(toy, "compare", "toy", "factor")
    assert done.returncode == 0, done.stderr
    first = done.stderr.split("factor 2/4")[0]
    assert "two, seed 0: done" in first
    assert "double says hello" not in first
    assert "double says hello" in done.stderr


@pytest.mark.slow
def test_failing_arm_says_why(toy):
    commit(toy, "run")
    edit(
        toy / "components/toy/comparisons.yaml", "three: {toy.double.factor: 3}", "three: {toy.double.fail: explained}"
    )
    done = genworks(toy, "compare", "toy", "factor")
    assert done.returncode == 1
    assert "The toy broke" in done.stderr
    assert "Arm 'three'" in done.stderr
    clear_runs(toy)


def test_medians_ranges_bars_and_gain():
    one = {
        "metrics": ["bleu"],
        "arms": {"a": {}, "b": {}},
        "bars": {"bleu": {"min": 2}},
        "gain": {"metric": "bleu", "arm": "a", "over": "b", "min": 3},
    }
    measured = {
        "a": {0: {"bleu": 5.0}, 1: {"bleu": 9.0}, 2: {"bleu": 6.0}},
        "b": {0: {"bleu": 1.0}, 1: {"bleu": 2.0}, 2: {"bleu": 4.0}},
    }
    found = comparisons.summarise(one, measured)
    assert found["arms"]["a"]["bleu"] == {"median": 6.0, "min": 5.0, "max": 9.0, "runs": {"0": 5.0, "1": 9.0, "2": 6.0}}
    assert [(bar["value"], bar["met"]) for bar in found["bars"]] == [(6.0, True), (2.0, True), (4.0, True)]
    one["gain"]["min"] = 4.5
    assert not comparisons.summarise(one, measured)["bars"][-1]["met"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  until: join\n  metrics: [total]", "  metrics: [total]", "until"),
        ("metrics: [total, noisy]", "metrics: [total]", "noisy"),
        ("question: Does a larger", "quetsion: Does a larger", "quetsion"),
        ("three: {toy.double.factor: 3}", "three: {toy.double.fcator: 3}", "fcator"),
    ],
)
def test_wrong_declarations_are_refused_with_the_key(toy, old, new, said):
    edit(toy / "components/toy/comparisons.yaml", old, new)

    def plan_all():
        for name, one in comparisons.read_comparisons(toy, "toy").items():
            comparisons.trials(toy, dag.load(toy), "toy", name, one)

    with pytest.raises(UsageError, match=said):
        plan_all()


def test_unknown_names_are_refused(toy):
    assert "did you mean bars" in genworks(toy, "compare", "toy", "bras").stderr
    assert "declares no comparisons" in genworks_without_file(toy).stderr


def genworks_without_file(toy):
    (toy / "components/toy/comparisons.yaml").unlink()
    return genworks(toy, "compare", "toy")


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: No file hash info found for '/p/.dvc/tmp/exps/standalone/t/data/clip/model'. It won't be created.",
        "WARNING: The following untracked files were present in the experiment directory after reproduction but …",
        "\treports/clip/.gitignore, reports/text_to_image/.gitignore",
    ],
)
def test_what_dvc_says_of_an_experiment_that_began_with_nothing_is_left_out(line):
    assert is_chatter(line)


@pytest.mark.parametrize("line", ["WARNING: 3 captions are empty", "\tTraceback …", "data/.gitignore is damaged"])
def test_what_a_stage_says_is_shown(line):
    assert not is_chatter(line)
