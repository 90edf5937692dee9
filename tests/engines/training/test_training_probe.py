"""A probe: a few real steps through `launch`, told as figures that multiply out to the whole."""

import json
from functools import partial

import pytest
import toy_language_model
from toy_fits import fit_here, maker, training

from components.engines.base.errors import StageError
from components.engines.base.probe import Probed, probe_file, probing
from components.engines.training.launch import launch
from components.engines.training.observe.forecast import ALL_STEPS, num_checkpoints, num_scores, shortened

LM = "toy_language_model"


def probe(tmp_path, name="probe", make=None, **changes):
    file = tmp_path / f"{name}.json"
    with probing(file), pytest.raises(Probed):
        launch(make or maker(LM), training(num_workers=0, **changes), work=tmp_path / name)
    return json.loads(file.read_text())


def test_a_probe_tells_what_the_whole_training_is_made_of(tmp_path):
    told = probe(tmp_path, max_steps=1000, score_every=300, checkpoint_every=400, peak_tflops=1.0)
    assert (told["steps"], told["scores"], told["checkpoints"]) == (1000, 4, 6)  # three are of the best so far, at most
    assert min(told[name] for name in told if name.startswith("seconds_")) > 0
    least = ALL_STEPS * told["seconds_step"] / 3 + told["seconds_score"] + told["seconds_checkpoint"]
    assert told["seconds_probe"] >= least  # 10 of its 15 steps are measured
    assert told["samples_per_second"] > 0 < told["mfu"]
    assert told["peak_memory_mb"] > 50
    assert probe_file() is None


def test_a_probe_neither_scores_nor_counts_scores_where_the_training_does_not(tmp_path):
    def never(self):
        raise AssertionError("scored")

    class Unscored(toy_language_model.ToyLanguageModel):
        score = never

    told = probe(tmp_path, make=partial(Unscored, 16, 0.0, 50, 0.0))
    assert (told["scores"], told["seconds_score"]) == (0, 0.0)


def test_the_steps_of_a_probe_are_no_larger_than_those_of_the_training():
    """A warm-up of a thousand steps is not squeezed into fifteen: a large first step might end in NaN."""
    settings = training(max_steps=5000, warmup_steps=1000, score_every=50, select="best", patience=2)
    short = shortened(settings)
    assert (short.max_steps, short.warmup_steps, short.learning_rate) == (ALL_STEPS, 1000, settings.learning_rate)
    assert (short.batch_size, short.select, short.patience) == (settings.batch_size, "last", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": 24, "score_every": 8, "checkpoint_every": 6},
        {"max_steps": 20, "score_every": 7, "checkpoint_every": 50},
        {"max_steps": 20, "checkpoint_every": 3},
        {"max_steps": 21, "score_every": 5, "checkpoint_every": 7, "select": "best"},
    ],
)
def test_scores_and_checkpoints_are_counted_as_the_loop_makes_them(changes, tmp_path, monkeypatch):
    from components.engines.training.checkpoints import saved_run

    saved, scored, save = [], [], saved_run.save
    monkeypatch.setattr(saved_run, "save", lambda run: (saved.append(run.state.step), save(run)))

    class Improving(toy_language_model.ToyLanguageModel):
        def score(self):
            scored.append(1)
            return {"loss": -len(scored)}

    monkeypatch.setattr(toy_language_model, "ToyLanguageModel", Improving)
    settings = training(**changes)
    fit_here(LM, settings, tmp_path)
    assert (num_scores(settings), num_checkpoints(settings)) == (len(scored), len(saved))


def test_a_training_that_fails_while_probed_fails_in_its_own_words_and_leaves_no_figures(tmp_path):
    class Breaks(toy_language_model.ToyLanguageModel):
        def batch(self, indices, epoch):
            raise StageError("Shard train-000003.tar is truncated")

    with probing(tmp_path / "probe.json"), pytest.raises(StageError, match="truncated"):
        launch(partial(Breaks, 16, 0.0, 50, 0.0), training(num_workers=0), work=tmp_path / "work")
    assert not (tmp_path / "probe.json").exists()


@pytest.mark.slow
def test_a_probe_through_ray_workers_tells_the_same_things(tmp_path):
    file = tmp_path / "probe.json"
    with probing(file), pytest.raises(Probed):
        launch(maker(LM), training(num_workers=2, max_steps=500), work=tmp_path / "work")
    told = json.loads(file.read_text())
    assert told["steps"] == 500
    assert told["seconds_step"] > 0
