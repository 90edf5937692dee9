"""What stands where on a picture of a page: rapid-layout's CDLA model, which its wheel carries."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from components.engines.documents.page import Box

_MIN_SCORE = 0.5


class LayoutFinder:
    """Regions by kind: `text`, `title`, `figure`, `figure_caption`, `table`, `table_caption`, `header`, `footer` and others."""

    def __init__(self) -> None:
        from rapid_layout import RapidLayout

        threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        before = logging.root.manager.disable
        logging.disable(logging.INFO)  # it tells where its files are, by a logger for each of its modules
        try:
            self.engine = RapidLayout(conf_thresh=_MIN_SCORE, engine_cfg=threads)
        finally:
            logging.disable(before)

    def __call__(self, pixels: Any) -> list[tuple[str, Box]]:
        """`pixels`: grey, uint8 [height, width]; boxes are in pixels."""
        found = self.engine(np.repeat(pixels[:, :, None], 3, axis=2))
        if found.boxes is None:
            return []
        return [
            (name, (float(x0), float(y0), float(x1), float(y1)))
            for (x0, y0, x1, y1), name in zip(found.boxes, found.class_names, strict=True)
        ]
