"""Scores of the trained model on the test prompts: figures beside their controls, per-prompt scores for the gate, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from components.engines.base import stage
from components.engines.base.params import Count, Params, Positive
from components.engines.base.paths import digest_value, write_json, write_jsonl
from components.engines.base.stage import StageContext
from components.engines.generation.diffusion import Sampling
from components.text_to_image.architecture import Architecture


class Evaluate(Params):
    """What is painted and measured.

    All figures are of `sampling` unless their name says otherwise; `guidances` are compared on the same prompts and seeds.
    `num_ddpm` prompts are painted by DDPM in as many steps as there are noise levels (minutes; 0 for none).
    """

    sampling: Sampling
    guidances: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0, 2.0, 3.0, 5.0)
    num_prompts: Positive = 512
    num_ddpm: Count = 0
    num_samples: Positive = 24
    batch_size: Positive = 128
    seed: int = 0

    @model_validator(mode="after")
    def _compares_itself(self) -> Evaluate:
        if self.sampling.guidance not in self.guidances:
            raise ValueError(f"guidances must hold sampling.guidance {self.sampling.guidance:g}")
        return self


def evaluate(
    params: Evaluate,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    curated: Path,
    clip_model: Path,
    text_to_image_model: Path,
    optimised: Path,
    super_resolution: Path,
    judge: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
    pictures: Path,
    charts: Path,
    gallery: Path,
    concepts: Path,
) -> None:
    """Paint the test prompts by the model and by what was made of it; measure, and show.

    `concepts` (JSON) are those that the inference pipeline is to refuse, calibrated on validation pictures.
    """
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.tracking.runs import stage_run
    from components.text_to_image import prevention
    from components.text_to_image.exhibition import Exhibition
    from components.text_to_image.measuring import Measures
    from components.text_to_image.memorisation import Memorisation
    from components.text_to_image.trial import Trial

    with stage_run(context, params.model_dump()) as run:
        trial = Trial(params, architecture, cleaned, text_to_image_model, optimised)
        measures, memory = Measures(trial, clip_model, judge), Memorisation(trial, curated)
        rows = measures.example_rows()
        refused = prevention.concepts_of(
            measures.embedder, list(CaptionedImages(cleaned, "valid")), architecture.image_px
        )
        figures = measures.figures(rows, curated, super_resolution, memory)
        figures |= prevention.figures(measures.embedder, refused, trial.pairs)
        write_json(metrics, figures)
        write_json(scores_json, _description(trial, rows))
        write_jsonl(scores_jsonl, rows)
        show = Exhibition(trial, measures, gallery)
        write_jsonl(samples, show.samples(rows, params.num_samples))
        write_json(pictures, show.pictures(memory, super_resolution))
        write_json(charts, show.charts(figures))
        write_json(concepts, [one.as_dict() for one in refused])
        run.log_metrics({name: value for name, value in figures.items() if isinstance(value, int | float)})


def _description(trial: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How the rows add up to figures, and a digest of the examples, so that only scores of the same test are compared."""
    metrics = {name: {"aggregate": "mean", "higher_is_better": True} for name in rows[0]["metrics"]}
    examples = [[one.key, one.told["print"]["pixels"], one.caption] for one in trial.pairs]
    return {"examples": digest_value(examples), "metrics": metrics}


if __name__ == "__main__":
    stage.main(evaluate)
