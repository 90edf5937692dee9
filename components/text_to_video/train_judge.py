"""Training of the network that judges generated clips and whose features FVD rests on, on scenes painted for it alone."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, train_stage
from components.text_to_video.architecture import Architecture


class TrainJudge(Trained):
    """A MotionNetwork of this width, with so many features."""

    width: Positive = 16
    features: Positive = 48


def train_judge(
    params: TrainJudge, architecture: Architecture, context: StageContext, judge: Path, judge_curve: Path
) -> None:
    """Write the judge's folder (safetensors) and its loss curve (CSV)."""
    from components.engines.base.errors import UsageError
    from components.text_to_video.networks.motion_network import CONFIG, WEIGHTS
    from components.text_to_video.world.motion import ATTRIBUTES

    learnt = train_stage(context, params, partial(judging, params, architecture), judge_curve)
    if learnt.weights is None:
        raise UsageError(
            "A judge that has learnt nothing judges nothing", where="text_to_video.train_judge", do="enable it"
        )
    judge.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(learnt.weights / "judge.safetensors", judge / WEIGHTS)
    attributes = {name: list(values) for name, values in ATTRIBUTES.items()}
    write_json(judge / CONFIG, {"attributes": attributes, **_shape(params, architecture)})


def judging(params: TrainJudge, architecture: Architecture) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.base.seeds import seed_everything
    from components.text_to_video.networks.motion_network import MotionNetwork
    from components.text_to_video.tasks.judging import Judging

    seed_everything(params.training.seed, "judge")
    return Judging(MotionNetwork(**_shape(params, architecture)), architecture.longest, params.training.seed)


def _shape(params: TrainJudge, architecture: Architecture) -> dict[str, int]:
    bucket = architecture.longest
    return {"width": params.width, "features": params.features, "frames": bucket.frames, "px": bucket.height}


if __name__ == "__main__":
    stage.main(train_judge)
