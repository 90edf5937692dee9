"""Exact match: the share of examples whose output is one of its references."""

import unicodedata

import evaluate

from components.engines.scoring.references import alternatives, text_features


class ExactMatch(evaluate.Metric):
    """Share in 0..1 of equal strings, after Unicode NFC and with runs of white space as one space.

    Options: `ignore_case`, `ignore_punctuation` (any script's).
    """

    def _info(self):
        return evaluate.MetricInfo(description=__doc__, citation="", features=text_features())

    def _compute(self, predictions, references, ignore_case=False, ignore_punctuation=False):
        scores = self.sentence_scores(predictions, references, ignore_case, ignore_punctuation)
        return {"score": sum(scores) / len(scores)}

    def sentence_scores(self, predictions, references, ignore_case=False, ignore_punctuation=False):
        """1.0 or 0.0 per example."""

        def plain(text):
            if ignore_punctuation:
                text = "".join(" " if unicodedata.category(sign).startswith("P") else sign for sign in text)
            text = " ".join(unicodedata.normalize("NFC", text).split())
            return text.casefold() if ignore_case else text

        return [
            float(plain(prediction) in [plain(choice) for choice in choices])
            for prediction, choices in zip(predictions, alternatives(references), strict=True)
        ]
