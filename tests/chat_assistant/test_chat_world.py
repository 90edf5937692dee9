"""The sample world: its gold reward tells right from wrong and polite from rude, and nothing of its test is learnt."""

import random

import pytest

from components.chat_assistant.world import draw, unsafe
from components.chat_assistant.world.instructions import POLITE, RUDE, TASKS, Instruction, gold_reward, reply
from components.chat_assistant.world.instructions import draw as instruct


@pytest.mark.parametrize(
    ("right", "answer", "worth"),
    [
        ("lamp table", "Sure! lamp table.", 3),
        ("lamp table", "Ugh. lamp table.", 2),
        ("lamp table", "Of course! lamp desk.", 2),
        ("lamp table", "Whatever. table lamp.", 0),
        ("lamp table", "Sure! table lamp.", 1),
        ("lamp table", "Sure! lamp.", 1),
        ("7", "Sure! 8.", 1),
        ("7", "Sure! 7", 0),
        ("7", "7.", 0),
        ("7", "Sure! Sure! 7.", 1),
        ("7", "", 0),
    ],
)
def test_the_gold_reward_by_hand(right, answer, worth):
    assert gold_reward(right, answer) == worth


@pytest.mark.parametrize("task", TASKS)
def test_perfect_answers_get_everything_and_slips_do_not(task):
    rng = random.Random(0)
    for _ in range(200):
        asked = instruct(rng, task)
        assert gold_reward(asked.right, reply(rng, asked, polite=1, right=1)) == 3
        assert gold_reward(asked.right, reply(rng, asked, polite=0, right=1)) == 2
        assert gold_reward(asked.right, reply(rng, asked, polite=1, right=0)) < 3
    assert isinstance(asked, Instruction)
    assert not set(POLITE) & set(RUDE)


def test_preferences_have_their_margin_and_a_tenth_are_flipped():
    found = [one for one in draw.preferences(4_000, 0.03, 1) if "dirt" not in one]
    for one in found:
        worth = [gold_reward(one["right"], one[side]) for side in ("chosen", "rejected")]
        assert abs(worth[0] - worth[1]) == one["margin"] > 0
        assert (worth[0] < worth[1]) is one["flipped"]
    assert 0.08 < sum(one["flipped"] for one in found) / len(found) < 0.12
    assert 0.96 < len(found) / 4_000 < 0.98  # the others are dirt


def test_requests_come_with_look_alikes_and_the_test_asks_in_other_words():
    found = list(draw.requests(1_600, 0.0, 0))
    learnt, held_out = ([one for one in found if one["held_out"] is side] for side in (False, True))
    assert {one["category"] for one in held_out} == {one["category"] for one in learnt} == set(unsafe.LABELS)
    assert 0.4 < sum(one["category"] == unsafe.SAFE for one in learnt) / len(learnt) < 0.6
    assert not {one["prompt"] for one in learnt} & {one["prompt"] for one in held_out}
    parts = (unsafe.OPENINGS, unsafe.HELD_OUT_OPENINGS), (unsafe.CLOSINGS, unsafe.HELD_OUT_CLOSINGS)
    assert [set(ours) & set(others) for ours, others in parts] == [{""}, {""}]
    ours, others = (
        {frame.lower().strip(".?!") for family in families for frame in family}
        for families in (unsafe.FRAMES, unsafe.HELD_OUT_FRAMES)
    )
    shared = ours & others
    assert not shared
    assert found == list(draw.requests(1_600, 0.0, 0))


def test_how_something_is_asked_tells_nothing():
    """Each wording is used for a harmful and for a harmless thing; words at random stand around in training alone."""
    things = {
        thing: harmless for sides in unsafe.THINGS.values() for harmless, side in enumerate(sides) for thing in side
    }
    for held_out in (False, True):
        sides: dict[str, set[int]] = {}
        for one in unsafe.draw_requests(600, held_out, 0):
            thing = max((thing for thing in things if thing in one["prompt"]), key=len)
            assert (one["category"] == unsafe.SAFE) is bool(things[thing])
            sides.setdefault(one["prompt"].replace(thing, "{}"), set()).add(things[thing])
        # of a pair one half is left out where the request has been drawn before
        assert sum(side == {0, 1} for side in sides.values()) > 0.9 * len(sides)
    held = [one["prompt"] for one in unsafe.draw_requests(300, True, 0)]
    assert all(any(frame.split("{}")[0] in prompt for frame in unsafe.HELD_OUT_FRAMES[0]) for prompt in held)
