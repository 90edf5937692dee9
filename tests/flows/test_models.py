"""From a run to a champion, and every verb that speaks of models, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from components.engines.tracking.store import opened, store_of
from tests.flows.registering_toy import commit, make_registering_toy
from tests.flows.toy_project import edit, genworks, quiet_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def promoted(tmp_path_factory, prefect_url):
    """A project whose first version is the champion and whose worse second one was refused."""
    root = make_registering_toy(tmp_path_factory.mktemp("models") / "project")
    first = genworks(root, "run", "toy", "--json", PREFECT_API_URL=prefect_url)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert told["promotions"]["toy"]["decision"] == "promoted"
    assert (root / told["reports"]["toy"]).is_file()
    commit(root, "run")
    return root


def test_model_verbs(promoted, prefect_url):
    root = promoted

    def ask(*words, code=0):
        done = genworks(root, *words, "--json", PREFECT_API_URL=prefect_url)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    assert ask("list")[0]["champion"] == "1"
    again = ask("run", "toy")
    assert again["promotions"]["toy"]["decision"] == "promoted"  # judged already: Prefect is not started for it
    chain = ask("lineage", "toy")
    assert chain["version"] == 1
    assert {one["path"] for one in chain["upstream"]} >= {"data/toy/model", "data/toy/numbers.json"}

    refused = ask("run", "toy", "--set", "toy.train.quality=0.4", code=1)
    assert refused["promotions"]["toy"]["decision"] == "refused"
    assert "worse" in str(refused["promotions"]["toy"]["reasons"]) or "below" in str(
        refused["promotions"]["toy"]["reasons"]
    )
    assert ask("run", "toy", code=1)["promotions"]["toy"]["decision"] == "refused"  # and stays so
    commit(root, "worse")
    promoted_ = ask("run", "toy", "--set", "toy.train.quality=1.0", "--set", "toy.train.times=3")
    assert promoted_["promotions"]["toy"]["decision"] == "promoted"

    history = ask("history", "toy")
    assert [line["action"] for line in history["lines"]] == ["promote", "refuse", "promote"]
    assert history["champion"]["version"] == 3
    assert ask("history", "toy", "--as-of", "2001-01-01")["champion"] is None

    back = ask("rollback", "toy", "--why", "just because")
    assert (back["from"], back["champion"]["version"]) == (3, 1)
    assert "data/toy/model" in back["champion"]["data"]
    assert ask("promote", "toy", code=1)["decision"] == "refused"  # it was rolled back
    assert not [finding for finding in ask("doctor") if finding["state"] == "fail"]

    with opened(store_of(root)) as client:  # by hand, as on MLflow's page
        client.set_registered_model_alias("toy", "champion", "2")
    moved = ["alias 'champion' points to version 2, the ledger says version 1"]
    assert ask("history", "toy", code=1)["problems"] == moved
    assert ask("list", code=1)[0]["problems"] == moved
    assert [f for f in ask("doctor", code=1) if f["state"] == "fail" and "ledger" in f["what"]]
    ask("rollback", "toy", "--to", "1", "--why", "set right")
    assert ask("history", "toy")["problems"] == []


def test_predict_answers_line_by_line_and_asks_the_model_about_empty_ones_too(promoted):
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "predict", "toy", "--alias", "1"],
        cwd=promoted, input="one\n\ntwo words\n", capture_output=True, text=True, env=quiet_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one one\n \ntwo words two words\n"
    done = genworks(promoted, "predict", "toy", "--alias", "1", "--text", "hm", "--json")
    assert json.loads(done.stdout) == {"input": "hm", "output": {"said": "hm hm", "length": 2}}
    done = genworks(promoted, "predict", "toy", "", "hm", "--alias", "1", "--json")
    assert [json.loads(line)["output"]["length"] for line in done.stdout.splitlines()] == [0, 2], done.stderr
    done = genworks(promoted, "predict", "toy", "--alias", "77", "--text", "hm")
    assert done.returncode == 2
    assert "no version or alias '77'" in done.stderr
    done = genworks(promoted, "predict", "toy", "--file", "nowhere.txt")
    assert done.returncode == 2
    assert "nowhere.txt" in done.stderr


def test_first_version_is_made_again_from_its_commit_though_everything_moved_on(promoted):
    edit(promoted / "components/toy/train.py", "params.quality", "params.quality * 0.5")
    edit(promoted / "params.yaml", "count: 40", "count: 50")
    done = genworks(promoted, "reproduce", "toy/1", "--json")
    assert done.returncode == 0, done.stderr
    artefacts = json.loads(done.stdout)["artefacts"]
    assert all(one["equal"] for one in artefacts)
    assert {one["path"] for one in artefacts} >= {"data/toy/model", "data/toy/numbers.json", "reports/toy/rows.jsonl"}
    (promoted / "words.txt").write_text("no\n")  # the outside world changed: that must show
    done = genworks(promoted, "reproduce", "toy/1", "--json")
    assert done.returncode == 1
    assert [one["path"] for one in json.loads(done.stdout)["artefacts"] if not one["equal"]] == ["data/toy/model"]
    assert not list((promoted / ".work").glob("rebuild-*"))


def test_what_a_model_refuses_is_told_in_its_own_words(tmp_path):
    from argparse import Namespace

    from components.engines.base.errors import StageError
    from flows.commands.predict import _explain

    said = "noise\ncomponents.engines.base.errors.UsageError: Too long. Where: 'x'. What to do: split it."
    with pytest.raises(StageError) as error:
        _explain(1, said, Namespace(system="toy", alias="champion"), tmp_path)
    assert str(error.value) == "toy could not predict: Too long. Where: 'x'. What to do: split it."
