"""What is measured of scrubbing: how much is found, and what a model would remember."""

import math
import random

from components.engines.text.pii import Span
from components.smart_compose.measures.exposure import CHANCE, exposure, exposure_figures
from components.smart_compose.measures.personal import compared, personal_figures
from components.smart_compose.world.canaries import canaries


def test_a_value_is_found_only_as_a_whole_and_as_its_kind():
    counts = compared(
        [Span(0, 5, "NAME"), Span(10, 14, "EMAIL"), Span(20, 25, "URL")], [Span(0, 5, "NAME"), Span(10, 15, "EMAIL")]
    )
    assert counts["found", "NAME"] == counts["value", "EMAIL"] == counts["right", "EMAIL"] == 1
    assert counts["found", "EMAIL"] == counts["covered", "EMAIL"] == counts["right", "URL"] == 0


def test_personal_data_are_found_at_the_bar_in_known_and_in_held_out_ways_of_writing():
    figures = personal_figures()
    for prefix in ("", "held_out_"):
        assert figures[f"{prefix}pii_recall"] >= 0.98, figures
        assert figures[f"{prefix}pii_precision"] >= 0.95, figures


def test_exposure_is_the_rank_in_bits():
    assert exposure(0.0, [1.0] * 1023) == 10
    assert exposure(2.0, [1.0] * 1023) == 0
    assert exposure(1.0, [1.0] * 1023) < 1.01


def test_a_model_that_remembers_is_told_from_one_that_does_not():
    secrets = {canary.secret for canary in canaries() if canary.repeats == 16}
    rng = random.Random(0)

    def remembers(mails):
        return [-100.0 if any(secret in body for secret in secrets) else rng.random() for _, _, body in mails]

    found = exposure_figures(remembers)
    assert found["exposure_16"] == found["exposure_most"] == math.log2(1001)
    knows_nothing = [exposure_figures(lambda mails: [rng.random() for _ in mails])["exposure"] for _ in range(60)]
    assert abs(sum(knows_nothing) / 60 - CHANCE) < 0.3
    assert exposure_figures(lambda mails: [0.0] * len(mails))["exposure"] < 1.01
