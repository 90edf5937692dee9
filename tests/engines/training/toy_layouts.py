"""`torchrun … toy_layouts.py FITS_JSON`: several fits one after another in the same processes, which are slow to start.

FITS: a list of [module, arguments, training, work]. A fit that is refused leaves `<work>/refused.txt`.
"""

import importlib
import json
import sys
from functools import partial
from pathlib import Path

from components.engines.base.errors import GenworksError
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

if __name__ == "__main__":
    ranks = Ranks.from_process_group()
    for module, arguments, training, work in json.loads(Path(sys.argv[1]).read_text()):
        make_task = partial(importlib.import_module(module).make_task, **arguments)
        try:
            fit(make_task, Training.model_validate(training), work=Path(work), ranks=ranks)
        except GenworksError as error:
            Path(work).mkdir(parents=True, exist_ok=True)
            Path(work, "refused.txt").write_text(f"{type(error).__name__}: {error}")
        ranks.barrier()
