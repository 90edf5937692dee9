"""Captions that do not belong to an image: what a scorer must tell from the right one."""

from __future__ import annotations

import numpy as np

from components.engines.base.errors import StageError
from components.engines.base.seeds import derive
from components.engines.captioned.dataset import Captioned


def meaning(one: Captioned) -> object:
    """What a caption says, as far as is known: captions of one meaning are no mismatch, however they are worded."""
    return tuple(one.scene.values()) if one.scene else one.caption.lower()


def any_other(pairs: list[Captioned], seed: int) -> list[str]:
    """For each image a caption of the list that means something else. Raises StageError if all mean the same."""
    meanings = [meaning(one) for one in pairs]
    captions = []
    for one, own in zip(pairs, meanings, strict=True):
        order = np.random.default_rng(derive(seed, "any other", one.key)).permutation(len(pairs))
        other = next((position for position in order.tolist() if meanings[position] != own), None)
        if other is None:
            raise StageError(
                "All test captions say the same", where=one.caption, do="give test images of several kinds"
            )
        captions.append(pairs[other].caption)
    return captions


def one_attribute(pairs: list[Captioned], seed: int) -> tuple[list[str], list[str]]:
    """For each painted scene a caption that is wrong in exactly one attribute, and which."""
    from components.engines.worlds.scenes import Scene, describe, differing

    captions, changed = [], []
    for one in pairs:
        assert one.scene is not None
        rng = np.random.default_rng(derive(seed, "one attribute", one.key))
        scene = Scene(**one.scene)
        other = differing(scene, rng)
        captions.append(describe(other, int(rng.integers(99))))
        changed.append(next(name for name, value in other.as_dict().items() if value != one.scene[name]))
    return captions, changed
