"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), F-measures of the rouge_score package."""

import re

import evaluate
from rouge_score import rouge_scorer, tokenizers

from components.engines.base.errors import UsageError
from components.engines.scoring.references import alternatives, text_features

KINDS = ("rouge1", "rouge2", "rougeL")


class UnicodeTokenizer(tokenizers.Tokenizer):
    """Lower-cased runs of letters and digits of any script. On ASCII text the same as rouge_score's own tokenizer, which
    takes every other letter (ä, ж) for a separator."""

    def tokenize(self, text):
        return re.findall(r"[^\W_]+", text.lower())


class Rouge(evaluate.Metric):
    """Mean F-measures in 0..1; with several references the best one counts. Options: `stem` (Porter, English only)."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__, citation="https://aclanthology.org/W04-1013", features=text_features()
        )

    def _compute(self, predictions, references, stem=False):
        rows = self._rows(predictions, references, stem)
        return {kind: sum(row[kind] for row in rows) / len(rows) for kind in KINDS}

    def sentence_scores(self, predictions, references, kind="rougeL", stem=False):
        """One F-measure per example, of `kind` rouge1, rouge2 or rougeL."""
        if kind not in KINDS:
            raise UsageError(f"kind '{kind}' is none of {', '.join(KINDS)}")
        return [row[kind] for row in self._rows(predictions, references, stem)]

    @staticmethod
    def _rows(predictions, references, stem):
        tokenizer = tokenizers.DefaultTokenizer(use_stemmer=True) if stem else UnicodeTokenizer()
        scorer = rouge_scorer.RougeScorer(list(KINDS), tokenizer=tokenizer)
        rows = []
        for prediction, choices in zip(predictions, alternatives(references), strict=True):
            scored = [scorer.score(choice, prediction) for choice in choices]
            rows.append({kind: float(max(one[kind].fmeasure for one in scored)) for kind in KINDS})
        return rows
