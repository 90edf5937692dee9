"""What the relevance filter adds to a captioned image: its score, its mark, and, where known, whether its caption is wrong."""

from __future__ import annotations

from components.engines.captioned.dataset import Captioned

RELEVANCE, MARKED = "relevance", "marked"


def stored(score: float) -> float:
    """A cosine as it is stored: what is decided is decided on this, so that stored scores tell the same again."""
    return round(score, 6)


def is_wrong(one: Captioned) -> bool | None:
    """Whether the caption says something else than the image shows; None where nobody knows."""
    if one.scene is None:
        return None
    from components.engines.worlds.scenes import Scene, says_just

    return not says_just(one.caption, Scene(**one.scene))
