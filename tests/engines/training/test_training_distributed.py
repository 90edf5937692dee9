"""Several processes train what one trains: under torchrun, and through Ray Train."""

import logging
import os
import re
import signal
from functools import partial
from pathlib import Path

import pytest
import toy_language_model
from toy_fits import assert_close, finish, fit_here, maker, outcome, start, training

from components.engines.base.errors import StageError, UsageError
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.launch import launch
from components.engines.training.parallel.layout import Layout

HERE = str(Path(__file__).parent)
LM, GAN = "toy_language_model", "toy_gan"
PLAIN = [(LM, {"dropout": 0.0}), (GAN, {"noise_on_device": False, "batch_norm": False})]


class FileObserver:
    """Writes down what it hears: it may live in another process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, step: int, figures: dict[str, float]) -> None:
        with self.path.open("a") as file:
            file.write(f"{step} {'samples_per_second' in figures}\n")

    def close(self) -> None:
        with self.path.open("a") as file:
            file.write("closed\n")


class Breaks(toy_language_model.ToyLanguageModel):
    def batch(self, indices, epoch):
        if epoch > 0:
            raise UsageError("The vocabulary is too small", where="data/tokens", do="train the tokenizer again")
        return super().batch(indices, epoch)


class Dies(toy_language_model.ToyLanguageModel):
    def batch(self, indices, epoch):
        if epoch > 0:
            os._exit(9)
        return super().batch(indices, epoch)


def make_broken() -> Breaks:
    return Breaks(16, 0.0, 50, 0.0)


def make_dying() -> Dies:
    return Dies(16, 0.0, 50, 0.0)


@pytest.mark.parametrize(("toy", "free"), PLAIN)
def test_two_processes_train_what_one_trains(toy, free, tmp_path):
    settings = training(accumulation_steps=2, ema_decay=0.9, score_every=8)
    process = start(toy, settings, tmp_path / "two", processes=2, **free)
    one = fit_here(toy, settings, tmp_path / "one", **free)
    finish(process)
    assert_close(finished_fit(tmp_path / "two", settings), one)


def test_launch_without_workers_trains_in_this_process(tmp_path):
    settings = training(num_workers=0)
    heard = tmp_path / "heard.txt"
    there = launch(maker(LM), settings, work=tmp_path / "there", observer_factory=partial(FileObserver, heard))
    assert outcome(there) == outcome(fit_here(LM, settings, tmp_path / "here"))
    assert heard.read_text().splitlines() == [*(f"{row['step']} True" for row in there.curve), "closed"]
    names = {path.name for path in (tmp_path / "there").iterdir()}
    assert names == {"checkpoints", "final", "fit.json"}


def test_launch_passes_the_loops_errors_on(tmp_path):
    with pytest.raises(UsageError, match="vocabulary is too small"):
        launch(make_broken, training(num_workers=0), work=tmp_path)


def test_launch_refuses_sizes_before_anything_starts(tmp_path):
    with pytest.raises(UsageError, match=r"batch_size 16 cannot be split .* 3 workers"):
        launch(make_dying, training(num_workers=3), work=tmp_path)


@pytest.mark.slow
def test_ray_workers_train_what_one_process_trains_without_chatter(tmp_path, capfd, caplog):
    import ray

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with SIGINT ignored
    settings = training(num_workers=2, checkpoint_every=3)
    heard = tmp_path / "heard.txt"
    with pytest.raises(KeyboardInterrupt):
        fit_here(LM, settings, tmp_path / "two", stop_after=3, dropout=0.0)
    with caplog.at_level(logging.INFO):
        two = launch(
            maker(LM, dropout=0.0), settings, work=tmp_path / "two", observer_factory=partial(FileObserver, heard)
        )
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "RayTrainWorker" not in "".join(capfd.readouterr())
    assert "Resuming from step 3" in caplog.text  # said by a worker
    assert_close(two, fit_here(LM, settings, tmp_path / "one", dropout=0.0))
    assert heard.read_text().splitlines()[-2:] == ["24 True", "closed"]
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"checkpoints", "final", "fit.json"}


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster already joined: launch uses it and leaves it."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": HERE}})
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_ray_workers_hold_a_network_in_pieces(tmp_path, cluster):
    settings = training(num_workers=2, layout={"sharded": 2}, max_steps=8, score_every=4)
    two = launch(maker("toy_networks", family="decoder"), settings, work=tmp_path / "two")
    one = fit_here("toy_networks", settings.model_copy(update={"layout": Layout()}), tmp_path / "one", family="decoder")
    assert_close(two, one)


@pytest.mark.slow
def test_a_failure_in_a_ray_worker_is_told_in_its_own_words(tmp_path, cluster):
    with pytest.raises(UsageError, match="vocabulary is too small") as error:
        launch(make_broken, training(num_workers=2), work=tmp_path)
    assert re.fullmatch(r"step 5, samples? .*, data/tokens", error.value.where)
    assert error.value.do == "train the tokenizer again"
    assert cluster.is_initialized()


@pytest.mark.slow
def test_a_ray_worker_that_dies_is_told_as_such(tmp_path, cluster):
    with pytest.raises(StageError, match="died without a word"):
        launch(make_dying, training(num_workers=2), work=tmp_path)
