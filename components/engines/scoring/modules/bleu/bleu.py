"""BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018), with its signature."""

import math

import evaluate
import sacrebleu

from components.engines.base.errors import UsageError
from components.engines.scoring.references import streams, text_features


class Bleu(evaluate.Metric):
    """Corpus BLEU in 0..100. Options: `tokenize` and `lowercase` (sacrebleu's), `max_order`, `weights` of the n-gram orders."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://aclanthology.org/P02-1040 https://aclanthology.org/W18-6319",
            features=text_features(),
        )

    def _compute(self, predictions, references, tokenize="13a", lowercase=False, max_order=4, weights=None):
        scorer = self._scorer(tokenize, lowercase, max_order)
        result = scorer.corpus_score(predictions, streams(references))
        weights = _checked(weights, max_order)
        uniform = len(set(weights)) == 1
        signature = str(scorer.get_signature())
        return {
            "score": result.score if uniform else _weighted(result, weights),
            "brevity_penalty": result.bp,
            "precisions": list(result.precisions),
            "weights": weights,
            "sys_len": result.sys_len,
            "ref_len": result.ref_len,
            # Scores under other weights or orders are comparable with none of sacrebleu's: the signature must say so.
            "signature": signature
            + ("" if max_order == 4 else f"|order:{max_order}")
            + ("" if uniform else f"|weights:{','.join(f'{weight:g}' for weight in weights)}"),
        }

    def statistics(self, predictions, references, tokenize="13a", lowercase=False, max_order=4):
        """Per sentence [sys_len, ref_len, correct_1…, total_1…], sacrebleu's sufficient statistics."""
        scorer = self._scorer(tokenize, lowercase, max_order)
        return scorer._extract_corpus_statistics(list(predictions), streams(references))

    def sentence_scores(self, predictions, references, tokenize="13a", lowercase=False, max_order=4):
        """Sentence BLEU in 0..100 with effective order, as sacrebleu advises for single sentences."""
        scorer = self._scorer(tokenize, lowercase, max_order, effective_order=True)
        stats = scorer._extract_corpus_statistics(list(predictions), streams(references))
        return [scorer._compute_score_from_stats(row).score for row in stats]

    @staticmethod
    def _scorer(tokenize, lowercase, max_order, **options):
        if tokenize not in sacrebleu.BLEU.TOKENIZERS:
            raise UsageError(f"tokenize '{tokenize}' is none of sacrebleu's: {', '.join(sacrebleu.BLEU.TOKENIZERS)}")
        return sacrebleu.BLEU(tokenize=tokenize, lowercase=lowercase, max_ngram_order=max_order, force=True, **options)


def _checked(weights, max_order):
    weights = [1 / max_order] * max_order if weights is None else [float(weight) for weight in weights]
    if len(weights) != max_order or min(weights) < 0 or not math.isclose(sum(weights), 1):
        raise UsageError(f"weights must be {max_order} numbers ≥ 0 that add up to 1, not {weights}")
    return weights


def _weighted(result, weights):
    """bp · exp(Σ w_n log p_n), 0 where an order that counts has precision 0."""
    used = [(weight, precision) for weight, precision in zip(weights, result.precisions, strict=True) if weight]
    if any(precision == 0 for _, precision in used):
        return 0.0
    return result.bp * math.exp(sum(weight * math.log(precision) for weight, precision in used))
