"""METEOR (Banerjee & Lavie 2005; parameters of Lavie & Agarwal 2007) by nltk: exact and stem matches, WordNet if wanted."""

import evaluate
from nltk.stem import porter, snowball
from nltk.translate import meteor_score
from sacrebleu.tokenizers import tokenizer_13a

from components.engines.base.errors import UsageError
from components.engines.scoring.references import alternatives, text_features


class NoSynonyms:
    """Stands where nltk expects WordNet: no word has a synonym, so that only the exact and stem modules match."""

    def synsets(self, word):
        return []


class Meteor(evaluate.Metric):
    """Mean METEOR in 0..1 over 13a tokens, lower-cased. Options: `language` of the stemmer (Porter for English, else
    Snowball; None for exact matches only), `wordnet` for English synonyms, `alpha`, `beta`, `gamma`."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__, citation="https://aclanthology.org/W05-0909", features=text_features()
        )

    def _compute(self, predictions, references, **options):
        scores = self.sentence_scores(predictions, references, **options)
        return {"score": sum(scores) / len(scores)}

    def sentence_scores(
        self, predictions, references, language="english", wordnet=False, alpha=0.9, beta=3.0, gamma=0.5
    ):
        """One METEOR per example, the best over its references."""
        tokenizer = tokenizer_13a.Tokenizer13a()
        stemmer, synonyms = _stemmer(language), _wordnet() if wordnet else NoSynonyms()
        return [
            float(
                meteor_score.meteor_score(
                    [tokenizer(choice).split() for choice in choices],
                    tokenizer(prediction).split(),
                    stemmer=stemmer,
                    wordnet=synonyms,
                    alpha=alpha,
                    beta=beta,
                    gamma=gamma,
                )
            )
            for prediction, choices in zip(predictions, alternatives(references), strict=True)
        ]


class NoStems:
    def stem(self, word):
        return word


def _stemmer(language):
    if language is None:
        return NoStems()
    if language == "english":
        return porter.PorterStemmer()
    if language not in snowball.SnowballStemmer.languages:
        known = ", ".join(snowball.SnowballStemmer.languages)
        raise UsageError(f"METEOR has no stemmer for '{language}'", do=f"use None or one of: {known}")
    return snowball.SnowballStemmer(language)


def _wordnet():
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        raise UsageError(
            "METEOR with wordnet=True needs the WordNet data, which is not installed",
            do="run `python -m nltk.downloader wordnet` (or set NLTK_DATA), or leave wordnet off",
        ) from None
    return wordnet
