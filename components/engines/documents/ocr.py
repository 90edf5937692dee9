"""Text from pictures of pages by RapidOCR (PP-OCR, its models are in the wheel), upright whatever way the page lay.

The detector finds lines at any angle. Which way they stand is tried on a few of them: read both ways, they are surer the right
way up (RapidOCR's own classifier of directions is wrong about whole pages of small noisy print). So a page is read once, as it
lies, and only the places of what was read are turned and straightened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.engines.documents.page import Box, Line

_TALL = 1.5  # RapidOCR turns crops that are so much taller than wide by 90 degrees
_TRIED = 4  # lines that are read both ways
_MIN_SKEW, _MAX_SKEW = 0.3, 15.0  # degrees


@dataclass(frozen=True)
class Recognised:
    """Words in pixels of the upright picture; `turned` degrees clockwise and `skew` degrees were mended."""

    words: list[Line]
    width: float
    height: float
    turned: int
    skew: float


class Recogniser:
    """RapidOCR on one thread."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        one = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
        self.engine: Any = RapidOCR(params={**one, "Global.log_level": "critical", "Global.return_word_box": True})

    def __call__(self, pixels: Any) -> Recognised:
        """`pixels`: grey, uint8 [height, width]."""
        picture = np.repeat(pixels[:, :, None], 3, axis=2)
        height, width = pixels.shape
        found = self._read(picture)
        if found is None:
            return Recognised([], width, height, 0, 0.0)
        boxes, turned, texts, inside = found
        corners = [_turned(box, turned, width, height) for box in boxes]
        if turned in (90, 270):
            width, height = height, width
        skew = _skew(corners)
        words: list[Line] = []
        for place, text in enumerate(texts):
            if inside is not None and not turned:
                words += [Line(word, _hull(_straight(box, skew, width, height))) for word, box in inside[place]]
            else:  # RapidOCR tells the places of words within a line for upright lines only
                words += _split(text, _hull(_straight(corners[place], skew, width, height)))
        return Recognised(words, width, height, turned, round(skew, 2))

    def _read(self, picture: Any) -> tuple[Any, int, tuple[str, ...], list[list[tuple[str, Any]]] | None] | None:
        """Corners of each line [lines, 4, 2], how the page must be turned, the lines' texts, and their words with corners.

        All lines of a page stand the same way.
        """
        from rapidocr.ch_ppocr_cls import TextClsOutput
        from rapidocr.main import RapidOCRError

        engine = self.engine
        sized, record = engine.preprocess_img(picture)
        try:
            crops, detected = engine.detect_and_crop(sized, record)
            lies, heads = _run_down(np.asarray(detected.boxes, float)), self._upside_down(crops)
            recognised = engine.recognize_txt(_on_their_heads(crops) if heads else crops)
        except RapidOCRError:  # it has found nothing
            return None
        shown = engine.build_final_output(picture, detected, TextClsOutput(), recognised, crops, record)
        if shown.boxes is None or not shown.txts:
            return None
        inside = None
        if len(shown.word_results) == len(shown.txts):
            inside = [
                [(text, np.asarray(box, float)) for text, _, box in words if text.strip()]
                for words in shown.word_results
            ]
        # RapidOCR turns tall crops by 90 degrees anticlockwise: upside down after that, the page must be turned the other way
        turned = {(False, False): 0, (False, True): 180, (True, False): 270, (True, True): 90}[lies, heads]
        return np.asarray(shown.boxes, float), turned, shown.txts, inside

    def _upside_down(self, crops: Sequence[Any]) -> bool:
        """Whether lines of middling length are read more surely when they are turned by 180 degrees."""
        longest = sorted(crops, key=lambda crop: -crop.shape[1])
        tried = longest[len(longest) // 4 :][:_TRIED]
        sure, turned = (
            float(np.mean(self.engine.recognize_txt(list(some)).scores)) for some in (tried, _on_their_heads(tried))
        )
        return turned > sure


def _on_their_heads(crops: Sequence[Any]) -> list[Any]:
    return [np.ascontiguousarray(np.rot90(crop, 2)) for crop in crops]


def _run_down(boxes: Any) -> bool:
    """Whether most lines run down the page; long ones weigh more."""
    across = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)
    down = np.linalg.norm(boxes[:, 3] - boxes[:, 0], axis=1)
    weights = np.maximum(across, down)
    return bool(weights[down >= _TALL * across].sum() > weights.sum() / 2)


def _hull(points: Any) -> Box:
    """The upright box around points [n, 2]."""
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _split(text: str, box: Box) -> list[Line]:
    """The words of a line, each as wide as its share of the characters."""
    x0, y0, x1, y1 = box
    step, at, words = (x1 - x0) / max(len(text), 1), 0, []
    for word in text.split():
        at = text.index(word, at)
        words.append(Line(word, (x0 + step * at, y0, x0 + step * (at + len(word)), y1)))
        at += len(word)
    return words


def _turned(corners: Any, degrees: int, width: float, height: float) -> Any:
    """Points [n, 2] of a picture of this size where they lie once it is turned clockwise."""
    x, y = corners[:, 0], corners[:, 1]
    pairs = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}[degrees]
    return np.stack(pairs, axis=1)


def _skew(corners: list[Any]) -> float:
    """The angle in degrees by which lines fall to the right: the median over long ones, weighted by their length."""
    rises = []
    for box in corners:
        box = box[np.argsort(box[:, 0])]
        left, right = box[:2].mean(axis=0), box[2:].mean(axis=0)
        length = right[0] - left[0]
        if length > 0:
            rises.append((math.degrees(math.atan2(right[1] - left[1], length)), length))
    if not rises:
        return 0.0
    angles, lengths = (np.array(column) for column in zip(*sorted(rises), strict=True))
    middle = float(angles[np.searchsorted(lengths.cumsum(), lengths.sum() / 2)])
    return middle if _MIN_SKEW <= abs(middle) <= _MAX_SKEW else 0.0


def _straight(corners: Any, skew: float, width: float, height: float) -> Any:
    """Points turned around the middle of the page by the skew."""
    if not skew:
        return corners
    angle = math.radians(-skew)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    middle = np.array([width / 2, height / 2])
    return (corners - middle) @ turn + middle


def straighten(pixels: Any, turned: int, skew: float) -> Any:
    """The picture itself, grey or in colour, turned and straightened as its words were."""
    import cv2

    pixels = np.ascontiguousarray(np.rot90(pixels, -turned // 90))
    if not skew:
        return pixels
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), skew, 1.0)
    return cv2.warpAffine(pixels, matrix, (width, height), borderValue=(255, 255, 255))
