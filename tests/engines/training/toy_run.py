"""`python toy_run.py MODULE ARGUMENTS_JSON TRAINING_JSON WORK`: one fit in a process of its own, alone or under torchrun."""

import importlib
import json
import sys
from functools import partial
from pathlib import Path

from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

if __name__ == "__main__":
    module, arguments, training, work = sys.argv[1:]
    make_task = partial(importlib.import_module(module).make_task, **json.loads(arguments))
    fit(make_task, Training.model_validate_json(training), work=Path(work), ranks=Ranks.from_process_group())
