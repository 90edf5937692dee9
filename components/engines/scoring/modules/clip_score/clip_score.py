"""CLIPScore (Hessel et al. 2021): how well a caption fits its image, without a reference caption; RefCLIPScore with some."""

import datasets
import evaluate
import numpy as np

from components.engines.base.errors import StageError, UsageError
from components.engines.scoring import arrays


class ClipScore(arrays.ArrayMetric):
    """Mean of `scale` · max(cos, 0) between embeddings of image and text, 0 to `scale` (2.5 in the paper; 100 elsewhere).

    `predictions` and `references` are the embeddings of image i and its text, arrays [samples, width] of any length.
    With `captions`, embeddings of the texts people wrote (an array [captions, width] per sample), `ref_score` is the
    RefCLIPScore: the harmonic mean of CLIPScore and the text's best cosine with a caption, if above 0.
    Figures of two CLIP models are not comparable.
    """

    def _info(self):
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="https://arxiv.org/abs/2104.08718",
            features=datasets.Features({"predictions": row, "references": row}),
        )

    def _compute(self, predictions, references, captions=None, scale=2.5):
        figures = {"score": float(np.mean(self.sentence_scores(predictions, references, scale=scale)))}
        if captions is not None:
            figures["ref_score"] = float(np.mean(self.sentence_scores(predictions, references, captions, scale)))
        return figures

    def sentence_scores(self, predictions, references, captions=None, scale=2.5):
        """CLIPScore of each pair; with `captions` its RefCLIPScore."""
        if not 0 < scale < float("inf"):
            raise UsageError(f"scale must be a finite number above 0, not {scale}")
        images, texts = _directions(predictions, "Images"), _directions(references, "Texts")
        arrays.same_shape(images, texts)
        scores = scale * _cosines(images, texts)
        return (scores if captions is None else _harmonic(scores, _best(texts, captions))).tolist()


def _directions(values, what):
    vectors = arrays.matrix(values, what)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise StageError(f"{what} hold an embedding of length 0, which has no direction")
    return vectors / lengths


def _cosines(vectors, others):
    return np.maximum((vectors * others).sum(axis=1), 0.0)


def _best(texts, captions):
    """The highest cosine of each text with the captions of its image: (samples,), 0 or more."""
    if len(captions) != len(texts):
        raise StageError(f"RefCLIPScore needs captions for each text, got {len(captions)} for {len(texts)}")
    known = [_directions(one, f"Captions of example {position}") for position, one in enumerate(captions)]
    if any(one.shape[1] != texts.shape[1] for one in known):
        raise StageError("Captions must be embedded by the model that embedded the texts: their widths differ")
    return np.array([_cosines(one, text).max() for one, text in zip(known, texts, strict=True)])


def _harmonic(scores, others):
    total = scores + others
    return np.divide(2 * scores * others, total, out=np.zeros_like(total), where=total > 0)
