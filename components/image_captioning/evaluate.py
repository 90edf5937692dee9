"""Scores on the test split: figures beside their baselines, per-example scores for the promotion gate, samples to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import digest_value, write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.decoding import Decoding
from components.image_captioning.architecture import Architecture

GALLERY = "gallery"  # as dvc.yaml calls it: while a stage runs its outputs have other names


class Evaluate(Params):
    """How captions are made, and how many samples are shown."""

    decoding: Decoding
    batch_size: Positive = 64
    num_samples: Positive = 30
    seed: int = 0


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    image_captioning_model: Path,
    clip_model: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    gallery: Path,
) -> None:
    """Caption every test image by the chosen decoding and greedily; score both, and what a captioner says that sees nothing."""
    from components.engines.generation.captioner import ImageCaptioner
    from components.engines.scoring.embedder import Embedder
    from components.engines.tracking.runs import stage_run
    from components.image_captioning.trial import Trial

    with stage_run(context, params.model_dump()) as run:
        captioner = ImageCaptioner.load(image_captioning_model)
        trial = Trial(params, cleaned, captioner, Embedder.load(clip_model))
        rows = trial.example_scores()
        figures = trial.figures(rows) | _likelihood(captioner, cleaned, architecture)
        write_json(metrics, figures)
        write_json(scores_json, _description(trial, rows))
        write_jsonl(scores_jsonl, rows)
        write_jsonl(samples, _samples(params, trial, rows, gallery))
        run.log_metrics({name: value for name, value in figures.items() if isinstance(value, int | float)})


def _likelihood(captioner: Any, cleaned: Path, architecture: Architecture) -> dict[str, float]:
    """Perplexity of the test captions under the model (teacher forcing)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.image_captioning.captioning import Captioning

    test = CaptionedImages(cleaned, "test")
    scored = Captioning(captioner, test, test, max_tokens=architecture.max_tokens).score()
    return {"perplexity": scored["valid_perplexity"], "token_accuracy": scored["valid_accuracy"]}


def _description(trial: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How the rows add up to figures, and a digest of the examples, so that only scores of the same test are compared."""
    metrics = {
        name: {"aggregate": "bleu" if name == "bleu" else "mean", "higher_is_better": True}
        for name in rows[0]["metrics"]
    }
    examples = [[one.key, one.pixels, one.references] for one in trial.examples]
    return {"examples": digest_value(examples), "metrics": metrics}


def _samples(params: Evaluate, trial: Any, rows: list[dict[str, Any]], gallery: Path) -> list[dict[str, Any]]:
    """The worst, the best and some arbitrary captions, with their pictures in `gallery`."""
    scores = [row["metrics"] for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (scores[i].get("exact", 0), scores[i]["cider"], rows[i]["id"]))
    each = max(params.num_samples // 3, 1)
    step = max(len(order) // each, 1)
    kinds = [("bad", order[:each]), ("good", order[::-1][:each]), ("random", list(range(0, len(order), step))[:each])]
    gallery.mkdir(parents=True, exist_ok=True)
    samples = []
    for kind, chosen in kinds:
        for index in chosen:
            example = trial.examples[index]
            (gallery / f"{example.key}.png").write_bytes(example.shown.image)
            samples.append(
                {
                    "id": example.key,
                    "kind": kind,
                    "pictures": {"image": f"{GALLERY}/{example.key}.png"},
                    "fields": {
                        "caption": trial.outputs["chosen"][index],
                        "greedy": trial.outputs["greedy"][index],
                        "reference": example.references[0],
                    },
                    "score": scores[index]["cider"],
                }
            )
    return samples


if __name__ == "__main__":
    stage.main(evaluate)
