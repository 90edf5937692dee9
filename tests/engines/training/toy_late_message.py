"""`torchrun toy_late_message.py WORK`: two traced ranks of which the second is late with what it says after each step."""

import os
import sys
import time
from pathlib import Path

import toy_language_model

from components.engines.training.faults.stopping import Stopper
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Profile, Training

PAUSE = 1.0  # seconds: longer than a busy machine lets a message wait

if __name__ == "__main__":
    causes = Stopper._own_cause

    def late(stopper):
        time.sleep(PAUSE * int(os.environ["RANK"]))
        return causes(stopper)

    Stopper._own_cause = late
    settings = Training(
        max_steps=4,
        batch_size=16,
        learning_rate=0.01,
        num_threads=1,
        checkpoint_every=100,
        profile=Profile(first_step=1, steps=2),
    )
    fit(
        lambda: toy_language_model.ToyLanguageModel(16, 0.0, 50, 0.0),
        settings,
        work=Path(sys.argv[1]),
        ranks=Ranks.from_process_group(),
    )
