"""Turns printed pages into scans: rendered, turned, skewed, made noisy, stored as JPEG. No text layer is left."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import numpy as np

from components.rag.world.printer import HEIGHT, WIDTH

DPI = 150


@dataclass(frozen=True)
class Scan:
    """How a page lay on the scanner."""

    turned: int = 0  # degrees clockwise: 0, 90, 180, 270
    skew: float = 0.0  # degrees
    noise: float = 0.03  # standard deviation, of 1
    quality: int = 70  # of the JPEG


def draw_scan(rng: random.Random) -> Scan:
    turned = rng.choices([0, 90, 180, 270], [0.7, 0.1, 0.1, 0.1])[0]
    return Scan(turned, round(rng.uniform(-2.5, 2.5), 2), rng.uniform(0.01, 0.06), rng.randint(45, 85))


def scan(pdf: bytes, scans: list[Scan], seed: int) -> bytes:
    """The same document as image-only PDF; the first page lies as the first of `scans` says, and so on, over and over."""
    import pypdfium2 as pdfium
    from PIL import Image
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1)
    document = pdfium.PdfDocument(pdf)
    for number in range(len(document)):
        how = scans[number % len(scans)]
        picture = document[number].render(scale=DPI / 72, grayscale=True).to_pil().convert("L")
        picture = picture.rotate(how.skew, Image.Resampling.BILINEAR, fillcolor=255).rotate(-how.turned, expand=True)
        pixels = np.asarray(picture, np.float32)
        noise = np.random.default_rng(seed + number).normal(0, 255 * how.noise, pixels.shape)
        jpeg = io.BytesIO()
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(jpeg, "JPEG", quality=how.quality)
        width, height = (WIDTH, HEIGHT) if how.turned in (0, 180) else (HEIGHT, WIDTH)
        canvas.setPageSize((width, height))
        canvas.drawImage(ImageReader(jpeg), 0, 0, width, height)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()
