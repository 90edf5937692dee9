"""The example rooms: each says all it has to say in less than a hundred lines, and learns."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import gan, language_model, rl
from toy_fits import training

ROOMS = [language_model, gan, rl]
WORDS = "the cat sat on a mat and saw red dogs run far".split()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_takes_less_than_a_hundred_lines(room):
    assert len(Path(room.__file__).read_text().splitlines()) < 100


def run(room, folder: Path, settings: dict, **inputs) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The room's stage on what a user would give it: its scores, and the rows of its curve."""
    outs = {"weights": folder / "weights", "curve": folder / "curve.csv", "work": folder / "work"}
    scores = room.train(training(num_workers=0, **settings), **inputs, **outs)
    assert {path.suffix for path in outs["weights"].iterdir()} == {".safetensors"}
    with outs["curve"].open() as file:
        return scores, [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_the_language_model_learns_words(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 2000)))
    settings = {"max_steps": 100, "batch_size": 32, "learning_rate": 5e-3, "score_every": 50}
    scores, curve = run(language_model, tmp_path, settings, text=text)
    assert scores["loss"] < 1.2 < curve[0]["lm_loss"]  # nats per character; single characters have an entropy of 2.6
    assert scores["accuracy"] > 0.5


def test_the_gan_learns_the_ring(tmp_path):
    settings = {"max_steps": 300, "batch_size": 64, "learning_rate": 3e-3, "adam_betas": (0.5, 0.99), "ema_decay": 0.98}
    scores, _ = run(gan, tmp_path, {**settings, "score_every": 100, "select_metric": "energy_distance"})
    with torch.no_grad():
        untrained = gan.Gan(num_samples=64, width=48, blur=0.1).score()
    assert scores["energy_distance"] < 0.1 * untrained["energy_distance"]


def test_the_policys_reward_rises_at_a_price_in_kl(tmp_path):
    settings = {"max_steps": 100, "batch_size": 64, "learning_rate": 1e-2, "score_every": 50}
    scores, curve = run(rl, tmp_path, {**settings, "select_metric": "reward"})
    assert curve[0]["policy_reward"] < 0.3  # one word in eight is right by chance
    assert scores["reward"] > 0.8
    assert curve[-1]["policy_kl"] > curve[0]["policy_kl"]
