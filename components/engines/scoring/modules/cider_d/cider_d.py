"""CIDEr-D (Vedantam et al. 2015): how well a caption agrees with what several people wrote, rare words counting most."""

import collections
import math
import re

import evaluate
from nltk.tokenize import treebank

from components.engines.base.errors import StageError, UsageError
from components.engines.scoring.references import alternatives, text_features

TOKENIZERS = ("ptb", "none")


class CiderD(evaluate.Metric):
    """Mean over images of the TF-IDF cosine with the references, orders 1 to 4, times 10: from 0 to 10.

    Document frequencies count images whose references hold an n-gram, over the given references or those of `corpus` (a
    list of references per image, as for `references`): figures under another corpus are not comparable. Captions of fewer
    than four words lack n-grams of the higher orders and cannot reach 10.

    Options: `tokenize` "ptb" (Penn Treebank words by nltk, lower-cased, punctuation dropped, close to what coco-caption
    does) or "none" (split at white space, as given); `max_order`; `sigma` of the length penalty, in words.
    """

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__, citation="https://arxiv.org/abs/1411.5726", features=text_features()
        )

    def _compute(self, predictions, references, **options):
        scores = self.sentence_scores(predictions, references, **options)
        return {"score": math.fsum(scores) / len(scores)}

    def sentence_scores(self, predictions, references, corpus=None, tokenize="ptb", max_order=4, sigma=6.0):
        """One CIDEr-D per image, 0 to 10. Raises StageError where fewer than two images leave nothing to weigh words by."""
        if tokenize not in TOKENIZERS:
            raise UsageError(f"tokenize '{tokenize}' is none of {', '.join(TOKENIZERS)}")
        if max_order < 1 or sigma <= 0:
            raise UsageError(f"CIDEr-D needs max_order ≥ 1 and sigma above 0, not {max_order} and {sigma}")
        split = _ptb if tokenize == "ptb" else str.split
        counted = _counted(references, split, max_order)
        documents = counted if corpus is None else _counted(corpus, split, max_order)
        if len(documents) < 2:
            raise StageError(
                "CIDEr-D weighs words by the images they are said of, and one image gives every word the weight 0",
                do="score more images together, or pass the references of others as `corpus`",
            )
        idf = _InverseDocumentFrequency(documents)
        scores = []
        for text, choices in zip(predictions, counted, strict=True):
            candidate = _ngrams(split(text), max_order)
            agreements = [_agreement(candidate, reference, idf, sigma) for reference in choices]
            scores.append(10 * math.fsum(agreements) / len(agreements))
        return scores


def _counted(references, split, max_order):
    """n-grams of every reference of every image."""
    return [[_ngrams(split(text), max_order) for text in choices] for choices in alternatives(references)]


class _InverseDocumentFrequency(dict):
    """log(images / images whose references hold the n-gram); one that no image has counts as in one."""

    def __init__(self, documents):
        holding = collections.Counter(
            gram for choices in documents for gram in {gram for orders in choices for grams in orders for gram in grams}
        )
        self.unseen = math.log(len(documents))
        super().__init__((gram, self.unseen - math.log(count)) for gram, count in holding.items())

    def __missing__(self, gram):
        return self.unseen


def _ptb(text):
    """Words as the Penn Treebank splits them ("isn't" -> "is", "n't"), lower-cased, without punctuation marks."""
    tokens = treebank.TreebankWordTokenizer().tokenize(text.lower())
    stripped = (token.strip('.,:;!?"`…') for token in tokens)
    return [token for token in stripped if re.search(r"\w", token)]


def _ngrams(words, max_order):
    """Counts of n-grams, a Counter per order."""
    return [
        collections.Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, max_order + 1)
    ]


def _agreement(candidate, reference, idf, sigma):
    """Mean over orders of the clipped cosine, under a Gaussian of the difference in words: what stops padding a caption with
    the right words over and over."""
    excess = sum(candidate[0].values()) - sum(reference[0].values())
    penalty = math.exp(-(excess**2) / (2 * sigma**2))
    cosines = [_cosine(*orders, idf) for orders in zip(candidate, reference, strict=True)]
    return penalty * math.fsum(cosines) / len(cosines)


def _cosine(candidate, reference, idf):
    norm = _norm(candidate, idf) * _norm(reference, idf)
    if norm == 0:
        return 0.0
    shared = candidate.keys() & reference.keys()
    return math.fsum(min(candidate[gram], reference[gram]) * reference[gram] * idf[gram] ** 2 for gram in shared) / norm


def _norm(counts, idf):
    return math.sqrt(math.fsum((count * idf[gram]) ** 2 for gram, count in counts.items()))
