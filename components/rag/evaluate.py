"""How well pages were read, answers found and given: figures beside their baselines, scores for the gate, samples to read."""

from __future__ import annotations

from pathlib import Path

from components.engines.base import stage
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json, write_jsonl
from components.engines.base.stage import StageContext
from components.rag.architecture import Architecture, Serving, settings_of


class Evaluate(Params):
    """How many test questions are asked, and how many samples are shown."""

    max_questions: Positive = 400
    num_samples: Positive = 15
    consistency_samples: Positive = 5


def evaluate(
    params: Evaluate,
    serving: Serving,
    architecture: Architecture,
    context: StageContext,
    documents: Path,
    parsed: Path,
    parsing: Path,
    library: Path,
    encoder: Path,
    generator: Path,
    examples: Path,
    metrics: Path,
    scores_json: Path,
    scores_jsonl: Path,
    samples: Path,
) -> None:
    """Compare pages with what was printed, ask the test questions of the pipeline and of its single searches, and let the reader
    answer from fixed contexts, so that reading is judged apart from finding."""
    from components.engines.index.library import Library
    from components.engines.language.records import Records
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.device import own_device
    from components.engines.scoring.evaluation import write_evaluation
    from components.engines.tracking.runs import stage_run
    from components.rag.measures.answers import Trial
    from components.rag.measures.parsed import parsing_figures
    from components.rag.measures.questions import load_questions
    from components.rag.networks import generator as generators
    from components.rag.networks.encoder import Embedder
    from components.rag.serve import Assistant

    with stage_run(context, params.model_dump()) as run:
        embedder = Embedder.load(encoder, architecture.encoder.max_tokens)
        embedder.network.to(own_device())
        network = generators.load(generator).to(own_device())
        settings = settings_of(serving, architecture)
        assistant = Assistant(Library(library, embedder), network, load_tokenizer(generator), settings)
        questions = load_questions(documents, "test")[: params.max_questions]
        trial = Trial(assistant, questions, list(Records(examples, "test")))
        rows = trial.example_scores()
        figures = trial.figures(rows, params.consistency_samples) | parsing_figures(
            documents, parsed, read_json(parsing)
        )
        asked = [[one["id"], one["question"], one["answer"]] for one in questions]
        write_evaluation(run, figures, rows, asked, metrics=metrics, scores_json=scores_json, scores_jsonl=scores_jsonl)
        write_jsonl(samples, trial.samples(rows, params.num_samples))


if __name__ == "__main__":
    stage.main(evaluate)
