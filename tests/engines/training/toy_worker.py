"""`torchrun … toy_worker.py MODULE ARGUMENTS_JSON TRAINING_JSON WORK`: what Ray calls in each of its workers."""

import importlib
import json
import sys
from functools import partial

from components.engines.training.launch import _work_in_worker
from components.engines.training.params import Training

if __name__ == "__main__":
    module, arguments, training, work = sys.argv[1:]
    make_task = partial(importlib.import_module(module).make_task, **json.loads(arguments))
    settings = Training.model_validate_json(training)
    _work_in_worker({"make_task": make_task, "training": settings, "work": work, "observer_factory": None})
