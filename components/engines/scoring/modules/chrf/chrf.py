"""chrF (Popović 2015): character n-gram F-score, as sacrebleu computes it."""

import evaluate
import sacrebleu

from components.engines.scoring.references import streams, text_features


class Chrf(evaluate.Metric):
    """Corpus chrF in 0..100; `word_order=2` gives chrF++ (Popović 2017)."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__, citation="https://aclanthology.org/W15-3049", features=text_features()
        )

    def _compute(self, predictions, references, char_order=6, word_order=0, beta=2, lowercase=False):
        scorer = sacrebleu.CHRF(char_order=char_order, word_order=word_order, beta=beta, lowercase=lowercase)
        result = scorer.corpus_score(predictions, streams(references))
        return {"score": result.score, "signature": str(scorer.get_signature())}

    def sentence_scores(self, predictions, references, char_order=6, word_order=0, beta=2, lowercase=False):
        """Sentence chrF in 0..100 (averaged over the orders that the sentence has)."""
        scorer = sacrebleu.CHRF(
            char_order=char_order, word_order=word_order, beta=beta, lowercase=lowercase, eps_smoothing=False
        )
        stats = scorer._extract_corpus_statistics(list(predictions), streams(references))
        return [scorer._compute_score_from_stats(row).score for row in stats]
