"""CIDEr-D against figures of the authors' own scorer, by hand, and on captions whose order is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.base.errors import StageError, UsageError
from components.engines.scoring.metrics import compute, sentence_scores
from components.engines.scoring.modules.cider_d import cider_d

CAPTIONS = {
    "a man rides a brown horse on the beach": [
        "a man riding a horse on the beach",
        "a person rides a brown horse along the sea",
        "man on horseback at the beach on a sunny day",
    ],
    "two dogs are playing with a ball": ["two dogs play with a red ball on the grass", "a pair of dogs chasing a ball"],
    "a plate of food on a table": [
        "a plate with pasta and vegetables on a wooden table",
        "a meal of pasta served on a white plate",
        "some food that is on a plate",
        "pasta on a plate next to a fork",
    ],
    "a cat sleeping on the sofa": ["a black cat is lying on a sofa", "a cat sleeping on the sofa"],
    "a red bus bus bus bus bus on the street": ["a red double decker bus on a city street"],
}
HYPOTHESES, REFERENCES = list(CAPTIONS), list(CAPTIONS.values())
# What CiderScorer(n=4, sigma=6.0) of pycocoevalcap 1.2, the code of the paper's authors, gives for these very captions.
PUBLISHED = [2.9383339402660074, 1.7227120460738077, 1.239308715204982, 5.645848438275153, 0.7772041382832977]
words = st.lists(st.sampled_from("a b c d e f the cat".split()), min_size=1, max_size=9).map(" ".join)
examples = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=2, max_size=6)


def score(hypotheses, references, **options):
    return compute(cider_d, hypotheses, references, **options)["score"]


def test_figures_of_the_published_scorer():
    assert sentence_scores(cider_d, HYPOTHESES, REFERENCES, tokenize="none") == pytest.approx(PUBLISHED, rel=1e-12)
    assert score(HYPOTHESES, REFERENCES, tokenize="none") == pytest.approx(2.4646814556206493, rel=1e-12)


def test_a_corpus_gives_one_image_the_figure_it_has_among_the_others():
    alone = sentence_scores(cider_d, HYPOTHESES[:1], REFERENCES[:1], corpus=REFERENCES)
    assert alone == pytest.approx(PUBLISHED[:1], rel=1e-12)


def test_one_image_cannot_weigh_words():
    with pytest.raises(StageError, match="weight 0"):
        score(["a cat"], [["a cat", "the cat"]])
    assert score(["a cat"], [["a cat"]], corpus=["a cat", "a dog"]) > 0


def test_by_hand():
    """Two images, idf log 2 for every word but "x", which both have (idf 0). Orders 1 and 2 only.

    "x a" against "x b": no word with a weight is shared; the bigrams differ: 0. "c c x" against "c x": unigrams
    min(2, 1)·1 / (2·1) = 1/2; bigrams "c c", "c x" against "c x": 1 / √2; one word too many: exp(-1/72).
    """
    scores = sentence_scores(cider_d, ["x a", "c c x"], ["x b", "c x"], max_order=2)
    assert scores == pytest.approx([0, 10 * math.exp(-1 / 72) * (1 / 2 + 1 / math.sqrt(2)) / 2])


def test_trivial_and_oracle_captions_are_far_apart():
    distinct = ["a b c d e", "f g h i", "j k l m n o p"]
    assert sentence_scores(cider_d, distinct, distinct) == pytest.approx([10, 10, 10])
    assert score(["v w x y z"] * 3, distinct) == 0
    own = [choices[0] for choices in REFERENCES]
    others = [choices[1:] or choices for choices in REFERENCES]
    shuffled = own[1:] + own[:1]
    assert score(shuffled, others) < 0.1 * score(own, others)  # each person against the rest, and captions gone astray
    assert score(["on a the"] * 5, REFERENCES) < 0.1 * score(HYPOTHESES, REFERENCES)  # words that fit everywhere
    assert score([""] * 5, REFERENCES) == 0


def test_short_captions_lack_the_higher_orders():
    assert sentence_scores(cider_d, ["a b", "c d e f"], ["a b", "c d e f"]) == pytest.approx([5, 10])


def test_repeating_a_rare_word_does_not_pay():
    honest, padded = "a red bus on the street", "a red bus bus bus bus bus bus bus bus"
    references = [["a red bus on the street"], ["a cat on the sofa"]]
    scores = [score([text, "a cat on the sofa"], references) for text in (honest, padded)]
    assert scores[0] == pytest.approx(10)
    assert scores[1] < 7


def test_words_are_the_penn_treebanks_without_punctuation():
    ours = score(["A man's \"T-shirt\", isn't it?", "The dog."], ["a man 's t-shirt is n't it", "the dog"])
    assert ours == pytest.approx(score(["p q r s t u v", "w x"], ["p q r s t u v", "w x"]))
    assert score(["A dog.", "b"], ["a dog", "b"], tokenize="none") == pytest.approx(1.25)  # of "b" alone
    with pytest.raises(UsageError, match="none of ptb, none"):
        score(["a", "b"], ["a", "b"], tokenize="13a")
    with pytest.raises(UsageError, match="sigma above 0"):
        score(["a", "b"], ["a", "b"], sigma=0)


@given(examples, st.randoms(use_true_random=False))
def test_order_of_images_and_references_does_not_count(examples, rng):
    hypotheses, references = map(list, zip(*examples, strict=True))
    before = sentence_scores(cider_d, hypotheses, references)
    order = rng.sample(range(len(examples)), len(examples))
    moved = [rng.sample(references[i], len(references[i])) for i in order]
    assert sentence_scores(cider_d, [hypotheses[i] for i in order], moved) == pytest.approx([before[i] for i in order])
    assert all(-1e-9 <= one <= 10 + 1e-9 for one in before)
    assert score(hypotheses, references) == pytest.approx(sum(before) / len(before))
