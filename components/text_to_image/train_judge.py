"""Training of the judge of generated pictures (networks/judge.py), on scenes painted for it alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.text_to_image.architecture import Architecture

VALID_IMAGES = 500


class TrainJudge(Trained):
    """The judge's size and training. It never sees the pictures that it is measured on, nor anything generated."""

    width: Positive = 32


def train_judge(
    params: TrainJudge,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    judge: Path,
    judge_curve: Path,
) -> None:
    """Write the judge's folder and its loss curve (CSV). Where the data have no truth, the folder only says so."""
    import shutil

    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.worlds.scenes import ATTRIBUTES
    from components.text_to_image.networks.judge import ABSENT, CONFIG, WEIGHTS

    judge.mkdir(parents=True)
    known = CaptionedImages(cleaned, "valid")[0].scene is not None
    make_task = partial(judging, params, architecture.image_px, cleaned)
    learnt = train_stage(context, params, make_task, judge_curve, needed=known)
    if learnt.weights is None:
        write_json(judge / ABSENT, {"reason": "nobody knows what is in these images: a judge could not be checked"})
        return
    shutil.copyfile(learnt.weights / "judge.safetensors", judge / WEIGHTS)
    attributes = {name: list(values) for name, values in ATTRIBUTES.items()}
    write_json(judge / CONFIG, {"attributes": attributes, "image_px": architecture.image_px, "width": params.width})


def judging(params: TrainJudge, image_px: int, cleaned: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.base.seeds import seed_everything
    from components.engines.captioned.dataset import CaptionedImages
    from components.text_to_image.networks.judge import JudgeNetwork
    from components.text_to_image.tasks.judge import Judging

    seed_everything(params.training.seed, "judge")
    network = JudgeNetwork(params.width, image_px)
    shown = CaptionedImages(cleaned, "valid")[:VALID_IMAGES]
    return Judging(network, image_px, params.training.seed, *known_pictures(shown, image_px))


def known_pictures(shown: Any, image_px: int) -> tuple[Any, Any]:
    """Captioned images of the sample world as the judge sees them, [n, 3, px, px], and what is in them [n, attributes]."""
    from components.engines.images.pixels import to_unit
    from components.engines.worlds.scenes import Scene
    from components.text_to_image.networks.judge import values_of

    return to_unit([one.open() for one in shown], image_px), values_of([Scene(**one.scene) for one in shown])


if __name__ == "__main__":
    stage.main(train_judge)
