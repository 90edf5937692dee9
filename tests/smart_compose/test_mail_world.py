"""The sample world: its probabilities are right, and scrubbing gives back the mails that its grammar made."""

import math
import random
from collections import Counter

from components.smart_compose.world import grammar, phrases
from components.smart_compose.world.canaries import canaries
from components.smart_compose.world.mails import draw_mails


def draws(count, subject=("trip", "Oslo"), previous=None):
    rng = random.Random(0)

    def one():
        style = rng.choices(list(phrases.STYLES), list(phrases.STYLES.values()))[0]
        relation = rng.choices(list(phrases.RELATIONS), list(phrases.RELATIONS.values()))[0]
        if previous is None:
            return grammar.draw(rng, *subject, style, relation)
        first = grammar.draw(rng, *subject, "formal", relation)
        return grammar.draw(rng, *subject, style, relation, first)

    return [one() for _ in range(count)]


def test_every_choice_adds_up_to_one():
    tables = [phrases.GREETINGS, phrases.OPENINGS, phrases.THANKS, phrases.ENDINGS, phrases.SIGN_OFFS]
    tables += [phrases.CORES, phrases.PERSONAL, phrases.DRAWN]
    choices = [one for table in tables for one in table.values()]
    choices += [one for answers in phrases.ANSWERS.values() for one in answers]
    assert all(math.isclose(sum(share for _, share in one), 1) for one in choices)
    assert {len(phrases.ANSWERS[topic]) - len(phrases.CORES[topic]) for topic in phrases.SUBJECTS} == {0}


def test_the_probability_of_a_body_is_how_often_it_is_drawn():
    mails = draws(4_000)
    counts = Counter(mail.body for mail in mails)
    for body, count in counts.most_common(15):
        chance = math.exp(grammar.log_probability("Trip to Oslo", "", body))
        assert abs(count - 4_000 * chance) < 4.5 * math.sqrt(4_000 * chance)
    assert sum(math.exp(grammar.log_probability("Trip to Oslo", "", body)) for body in counts) <= 1 + 1e-9


def test_answers_are_likelier_when_greeted_as_the_mail_answered_suggests():
    previous = "Hey <NAME>,\nMy train to Oslo leaves on Friday at 7:45.\nThanks,\n<NAME>"
    answer = "{} <NAME>,\nThanks. Have a safe trip to Oslo on Friday.\nThanks,\n<NAME>"
    same, other = (grammar.log_probability("Re: Trip to Oslo", previous, answer.format(one)) for one in ("Hey", "Dear"))
    assert same is not None
    assert other is None  # whoever says "Hey" is a friend, and friends are not called dear
    wrong_day = answer.format("Hey").replace("Friday", "Monday")
    assert grammar.log_probability("Re: Trip to Oslo", previous, wrong_day) is None


def test_every_drawn_mail_is_in_the_grammar_and_nothing_else_is():
    for mail in draws(50) + draws(50, previous=True):
        assert grammar.log_probability(mail.subject, mail.previous, mail.body) < 0
        assert grammar.log_probability(mail.subject, mail.previous, mail.body + "!") is None
    assert grammar.log_probability("Something else", "", mails_body := draws(1)[0].body) is None
    assert mails_body


def test_canaries_stand_in_training_as_often_as_they_say_and_held_out_subjects_in_testing_only():
    mails = list(draw_mails(700, 100, 0.1, 3))
    for canary in canaries():
        assert sum(canary.secret in mail["body"] for mail in mails) == canary.repeats
    assert all(mail["split_hint"] == "train" for mail in mails if mail.get("canary"))
    unseen = [mail for mail in mails if mail["combination"] == "unseen"]
    assert unseen
    assert {mail["split_hint"] for mail in unseen} == {"test"}
    assert mails == list(draw_mails(700, 100, 0.1, 3))


def test_what_is_held_out_is_a_combination_alone():
    """Topic and detail are each met in training, with others: a network that reads the subject can write of both."""
    met = [one for one in grammar.subjects() if one not in grammar.HELD_OUT]
    drawn = {(topic, word) for topic, choices in phrases.DRAWN.items() for word, _ in choices}
    for topic, detail in grammar.HELD_OUT:
        assert (topic, detail) in grammar.subjects()
        assert topic in {one for one, _ in met}
        assert detail in {word for other, word in [*met, *drawn] if other != topic}
