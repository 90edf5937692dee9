"""Makes the toys of the map and of the training engine importable by name, here and in Ray's workers."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "shards", HERE.parent / "training"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
