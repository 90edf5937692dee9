"""Metrics against their reference implementations, and on cases whose order is known."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate import meteor_score as nltk_meteor
from rouge_score import rouge_scorer
from torchmetrics.text import BLEUScore, CHRFScore, Perplexity, SacreBLEUScore

from components.engines.base.errors import StageError, UsageError
from components.engines.scoring.metrics import compute, load, names, sentence_scores
from components.engines.scoring.modules.bleu import bleu
from components.engines.scoring.sentences import bleu_statistics

REFERENCES = [
    "It is a guide to action that ensures that the military will forever heed Party commands.",
    "The quick brown fox jumps over the lazy dog, again and again.",
    "Two cats sat on the mat.",
    "Short one.",
]
HYPOTHESES = [
    "It is a guide to action which ensures that the military always obeys the commands of the party.",
    "The fast brown fox jumped over the lazy dog again.",
    "Two cats were sitting on a mat.",
    "Short one.",
]
SOURCES = ["ein Leitfaden", "der schnelle braune Fuchs", "zwei Katzen", "kurz"]
ARRAY_METRICS = ["clip_score", "fid", "inception_score", "kid", "lpips", "psnr", "swd"]
TEXT_METRICS = ["bleu", "chrf", "exact_match", "meteor", "rouge"]
words = st.lists(st.sampled_from(["a", "b", "c", "d", "the", "cat", "sat", ",", "."]), min_size=1, max_size=12).map(
    " ".join
)
pairs = st.lists(st.tuples(words, words), min_size=1, max_size=5)


def figure(name, hypotheses, references=None):
    figures = compute(name, hypotheses, REFERENCES if references is None else references)
    return figures["rougeL"] if name == "rouge" else figures["score"]


def test_all_modules_load():
    assert set(names()) >= {*TEXT_METRICS, *ARRAY_METRICS, "cider_d", "perplexity"}
    assert load(bleu) is load("bleu")


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_copy_shuffle_and_identity_are_ordered(name):
    """Copying the source < shuffled references < the system < the references themselves."""
    shuffled = [REFERENCES[1], REFERENCES[2], REFERENCES[3], REFERENCES[0]]
    ladder = [figure(name, outputs) for outputs in (SOURCES, shuffled, HYPOTHESES, REFERENCES)]
    assert ladder == sorted(ladder)
    assert ladder[0] < 0.2 * ladder[3]
    assert ladder[1] <= ladder[2] < ladder[3]
    best = {"bleu": 100, "chrf": 100}.get(name, 1)
    assert ladder[3] == pytest.approx(best, rel=0.03 if name == "meteor" else 1e-9)  # METEOR has a penalty even then


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_scrambled_words_score_lower_where_order_counts(name):
    rng = random.Random(0)
    scrambled = [" ".join(rng.sample(text.split(), len(text.split()))) for text in REFERENCES]
    assert figure(name, scrambled) < figure(name, REFERENCES)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_figures_per_sentence(name):
    scores = sentence_scores(name, HYPOTHESES, REFERENCES)
    assert len(scores) == 4
    assert all(isinstance(score, float) for score in scores)
    assert max(scores) == scores[3]
    if name in ("exact_match", "meteor", "rouge"):
        assert sum(scores) / 4 == pytest.approx(figure(name, HYPOTHESES))


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_second_reference_can_only_help(name):
    references = [[reference, hypothesis] for reference, hypothesis in zip(REFERENCES, HYPOTHESES, strict=True)]
    assert figure(name, HYPOTHESES, references) == pytest.approx(figure(name, HYPOTHESES, HYPOTHESES))
    uneven = [[REFERENCES[0], HYPOTHESES[0]], *([reference] for reference in REFERENCES[1:])]
    assert figure(name, HYPOTHESES) < figure(name, HYPOTHESES, uneven)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_empty_outputs_score_nothing(name):
    assert figure(name, ["", "", "", ""]) == 0


def test_bleu_is_sacrebleus_and_torchmetrics():
    figures = compute("bleu", HYPOTHESES, REFERENCES)
    expected = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES])
    assert figures["score"] == expected.score
    assert figures["brevity_penalty"] == expected.bp
    assert figures["precisions"] == expected.precisions
    assert figures["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    other = SacreBLEUScore()(HYPOTHESES, [[reference] for reference in REFERENCES])
    assert figures["score"] == pytest.approx(100 * other.item(), abs=1e-4)


def test_bleu_worked_example():
    """Papineni et al. 2002, example 2: "the the the the the the the" has clipped unigram precision 2/7."""
    figures = compute("bleu", ["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]])
    assert figures["precisions"][0] == pytest.approx(100 * 2 / 7)
    short = compute("bleu", ["a b c d e"], ["a b c d e f g h i j"])
    assert short["brevity_penalty"] == pytest.approx(0.36787944117)  # exp(1 − 10/5)
    assert short["score"] == pytest.approx(36.787944117)


@given(pairs, st.integers(1, 5))
def test_bleu_weights_and_order(pairs, max_order):
    hypotheses, references = zip(*pairs, strict=True)
    given = [1 / max_order] * max_order
    figures = compute("bleu", hypotheses, references, max_order=max_order, weights=given)
    other = BLEUScore(n_gram=max_order)([" ".join(h.split()) for h in hypotheses], [[r] for r in references])
    if all(precision > 0 for precision in figures["precisions"]) and not any(
        correct == 0 for correct in _correct(hypotheses, references, max_order)
    ):
        assert figures["score"] == pytest.approx(100 * other.item(), rel=1e-4)
    assert ("order" in figures["signature"]) == (max_order != 4)


def _correct(hypotheses, references, max_order):
    rows = bleu_statistics(hypotheses, references, max_order=max_order)
    return [sum(row[2 + n] for row in rows) for n in range(max_order)]


def test_bleu_with_one_weight_is_that_precision():
    figures = compute("bleu", HYPOTHESES, REFERENCES, weights=[0, 1, 0, 0])
    assert figures["score"] == pytest.approx(figures["brevity_penalty"] * figures["precisions"][1])
    assert figures["signature"].endswith("|weights:0,1,0,0")
    assert compute("bleu", HYPOTHESES, REFERENCES, max_order=2)["precisions"] == pytest.approx(
        figures["precisions"][:2]
    )


@given(pairs)
def test_bleu_statistics_add_up_to_the_corpus(pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    rows = bleu_statistics(hypotheses, references)
    assert all(len(row) == 10 and all(isinstance(count, int) for count in row) for row in rows)
    summed = [sum(column) for column in zip(*rows, strict=True)]
    rebuilt = sacrebleu.BLEU.compute_bleu(summed[2:6], summed[6:], summed[0], summed[1], smooth_method="exp")
    expected = sacrebleu.corpus_bleu(hypotheses, [references], force=True)
    assert rebuilt.score == expected.score
    assert (summed[0], summed[1], summed[2:6], summed[6:]) == (
        expected.sys_len,
        expected.ref_len,
        expected.counts,
        expected.totals,
    )


def test_sentence_bleu_and_chrf_are_sacrebleus():
    expected = [sacrebleu.sentence_bleu(h, [r]).score for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    assert sentence_scores("bleu", HYPOTHESES, REFERENCES) == pytest.approx(expected)
    expected = [sacrebleu.sentence_chrf(h, [r]).score for h, r in zip(HYPOTHESES, REFERENCES, strict=True)]
    assert sentence_scores("chrf", HYPOTHESES, REFERENCES) == pytest.approx(expected)


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_sacrebleus_and_torchmetrics(word_order):
    figures = compute("chrf", HYPOTHESES, REFERENCES, word_order=word_order)
    assert figures["score"] == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES], word_order=word_order).score
    other = CHRFScore(n_word_order=word_order)(HYPOTHESES, [[reference] for reference in REFERENCES])
    assert figures["score"] == pytest.approx(100 * other.item(), abs=1e-3)


@given(pairs)
def test_rouge_is_rouge_scores_on_ascii(pairs):
    hypotheses, references = zip(*pairs, strict=True)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    figures = compute("rouge", hypotheses, references)
    for kind in ("rouge1", "rouge2", "rougeL"):
        expected = [scorer.score(r, h)[kind].fmeasure for h, r in pairs]
        assert figures[kind] == pytest.approx(sum(expected) / len(expected))


def test_rouge_reads_letters_of_any_script():
    assert compute("rouge", ["Вчера шёл дождь"], ["Вчера шёл снег"])["rouge1"] == pytest.approx(2 / 3)
    assert compute("rouge", ["grün"], ["gr n"])["rouge1"] == 0


def test_rouge_stems_when_asked():
    assert compute("rouge", ["jumps"], ["jumped"])["rouge1"] == 0
    assert compute("rouge", ["jumps"], ["jumped"], stem=True)["rouge1"] == 1


def test_meteor_is_nltks_with_exact_and_stem_matches():
    """nltk documents .6944 for this pair, which holds no synonyms: the same without WordNet."""
    hypothesis = "It is a guide to action which ensures that the military always obeys the commands of the party"
    reference = "It is a guide to action that ensures that the military will forever heed Party commands"
    assert compute("meteor", [hypothesis], [reference])["score"] == pytest.approx(0.6944, abs=1e-4)


def test_meteor_by_hand():
    """One match of two words, one chunk: P = R = F = 1/2, penalty .5·(1/1)³, score .25; nltk's exact matcher agrees."""
    assert compute("meteor", ["a b"], ["a c"])["score"] == pytest.approx(0.25)
    assert nltk_meteor.exact_match(["a", "b"], ["a", "c"])[0] == [(0, 0)]
    assert compute("meteor", ["jumps"], ["jumping"])["score"] == pytest.approx(0.5)
    assert compute("meteor", ["jumps"], ["jumping"], language=None)["score"] == 0
    assert compute("meteor", ["Häuser"], ["Haus"], language="german")["score"] > 0


def test_meteor_says_what_wordnet_needs(monkeypatch):
    monkeypatch.setattr("nltk.data.path", [])
    with pytest.raises(UsageError, match="downloader wordnet"):
        compute("meteor", ["a"], ["a"], wordnet=True)


def test_perplexity_is_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 7, generator=generator)
    labels = torch.randint(7, (3, 5), generator=generator)
    nlls = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    figures = compute("perplexity", nlls.tolist())
    assert figures["perplexity"] == pytest.approx(Perplexity()(logits, labels).item(), rel=1e-5)
    assert figures["num_tokens"] == 15


def test_perplexity_weighs_tokens_and_texts():
    figures = compute("perplexity", [[1.0, 1.0, 1.0], [3.0], []])
    assert figures["mean_nll"] == pytest.approx(1.5)
    assert sentence_scores("perplexity", [[0.0], [0.0, 0.0]]) == [1, 1]
    with pytest.raises(StageError, match="no text has a token"):
        compute("perplexity", [[], []])
    with pytest.raises(StageError, match="broken"):
        compute("perplexity", [[float("inf")]])


def test_exact_match_ignores_what_it_is_told_to():
    outputs, references = ["Hello,  world", "Cafe\u0301"], ["hello world", "Caf\u00e9"]
    assert compute("exact_match", outputs, references)["score"] == 0.5
    assert compute("exact_match", outputs, references, ignore_case=True, ignore_punctuation=True)["score"] == 1


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: compute("blue", ["a"], ["a"]), UsageError, "no metric 'blue'.*bleu, chrf"),
        (lambda: compute("bleu", [], []), StageError, "nothing to score"),
        (lambda: compute("bleu", ["a"], ["a", "b"]), StageError, "got 2 for 1"),
        (lambda: compute("bleu", ["a"], [[]]), StageError, "no reference"),
        (lambda: compute("bleu", ["a"], ["a"], tokenise="13a"), UsageError, "tokenise"),
        (lambda: compute("bleu", ["a"], ["a"], tokenize="14a"), UsageError, "14a"),
        (lambda: compute("bleu", ["a"], ["a"], weights=[1, 1]), UsageError, "4 numbers"),
        (lambda: compute("meteor", ["a"], ["a"], language="klingon"), UsageError, "klingon"),
        (lambda: sentence_scores("rouge", ["a"], ["a"], kind="rouge3"), UsageError, "rouge3"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_caches_stay_in_the_project_without_network(tmp_path):
    """A clean process with no route out: proxies that refuse stand for a machine without network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    code = (
        "from components.engines.scoring.modules.bleu import bleu\n"  # as stages do; the module itself imports evaluate
        "from components.engines.scoring.metrics import compute\n"
        "print(compute(bleu, ['a b c d'], ['a b c d'])['score'])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, cwd=root, capture_output=True, text=True
    )
    assert float(done.stdout) == pytest.approx(100)
    assert not (tmp_path / ".cache").exists()
