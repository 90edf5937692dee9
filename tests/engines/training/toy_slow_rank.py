"""`torchrun toy_slow_rank.py WORK`: two ranks of which the second is late with every forward pass; the first says what it saw."""

import json
import os
import sys
import time
from pathlib import Path

import toy_language_model

from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

PAUSE = 0.05


class SlowRank(toy_language_model.ToyLanguageModel):
    def loss(self, batch):
        time.sleep(PAUSE * int(os.environ["RANK"]))
        return super().loss(batch)


class Writer:
    def __init__(self, path):
        self.path = path

    def log(self, step, figures):
        self.path.write_text(json.dumps(figures))

    def close(self):
        pass


if __name__ == "__main__":
    work = Path(sys.argv[1])
    settings = Training(max_steps=8, batch_size=16, learning_rate=0.01, num_threads=1, log_every=4)
    ranks = Ranks.from_process_group()
    observer = Writer(work / "heard.json")
    fit(lambda: SlowRank(16, 0.0, 50, 0.0), settings, work=work, ranks=ranks, observer=observer)
