"""Metrics as local `evaluate` modules, per-sentence statistics, slices, paired bootstrap."""

import os
from pathlib import Path

# evaluate reads these when it is first imported, which any metric module does: its copies of the modules stay in the project,
# and a local module asks no server.
CACHE = Path(__file__).parents[3] / ".cache" / "huggingface"
os.environ.setdefault("HF_MODULES_CACHE", str(CACHE / "modules"))
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
