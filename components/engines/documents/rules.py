"""Ruling lines on pictures of pages, in the form in which pdfplumber describes those of vector pages."""

from __future__ import annotations

from typing import Any

import numpy as np

_MIN_LENGTH = 40  # parts of the page's side: shorter strokes are letters


def ruling_lines(pixels: Any, scale: float) -> list[dict[str, Any]]:
    """Horizontal and vertical lines of a grey picture [height, width] as edges in points; `scale` pixels make a point."""
    import cv2

    ink = cv2.adaptiveThreshold(pixels, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 25, 12)
    edges = []
    for orientation, size in (("h", (pixels.shape[1] // _MIN_LENGTH, 1)), ("v", (1, pixels.shape[0] // _MIN_LENGTH))):
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, size)
        lines = cv2.morphologyEx(ink, cv2.MORPH_OPEN, kernel)
        lines = cv2.dilate(lines, np.ones((3, 3), np.uint8))  # closes gaps that noise and skew leave
        count, _, stats, _ = cv2.connectedComponentsWithStats(lines)
        for x, y, width, height, _ in stats[1:count]:
            long, thick = (width, height) if orientation == "h" else (height, width)
            if long > 4 * thick and thick < 6 * scale:
                edges.append(_edge(x / scale, y / scale, (x + width) / scale, (y + height) / scale, orientation))
    return edges


def _edge(x0: float, y0: float, x1: float, y1: float, orientation: str) -> dict[str, Any]:
    if orientation == "h":
        y0 = y1 = (y0 + y1) / 2
    else:
        x0 = x1 = (x0 + x1) / 2
    sizes = {"width": x1 - x0, "height": y1 - y0}
    return {"x0": x0, "x1": x1, "top": y0, "bottom": y1, "orientation": orientation, "object_type": "line", **sizes}
