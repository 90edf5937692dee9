"""An independent judge of generated pictures: it says colour, shape, position, size and texture of what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base import stage
from components.engines.base.errors import StageError
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json, write_json
from components.engines.base.stage import StageContext
from components.engines.training.params import Training
from components.text_to_image.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from components.engines.worlds.scenes import Scene

CONFIG, WEIGHTS, ABSENT = "config.json", "model.safetensors", "absent.json"
VALID_IMAGES = 500


class JudgeParams(Params):
    """The judge's size and training. It never sees the pictures that it is measured on, nor anything generated."""

    width: Positive = 32
    training: Training


class Judge:
    """Recognises what a painted picture shows; attributes in the order of `engines.worlds.scenes.ATTRIBUTES`."""

    def __init__(self, network: Any, image_px: int) -> None:
        self.network, self.image_px = network.eval(), image_px

    @classmethod
    def load(cls, folder: Path) -> Judge | None:
        """None where the stage found data without truth. Raises StageError if the weights do not fit."""
        from components.engines.training.weights import load_module
        from components.engines.worlds.scenes import ATTRIBUTES
        from components.text_to_image.judging import JudgeNetwork

        if (folder / ABSENT).exists():
            return None
        config = read_json(folder / CONFIG)
        if config["attributes"] != {name: list(values) for name, values in ATTRIBUTES.items()}:
            raise StageError("This judge knows another world", where=str(folder), do="run the judge stage again")
        network = JudgeNetwork(config["width"], config["image_px"])
        load_module(network, folder / WEIGHTS)
        return cls(network, config["image_px"])

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """[n, 3, image_px, image_px] in [0, 1] -> per attribute [n, values], on the CPU."""
        import torch

        with torch.inference_mode():
            answers = [self.network(piece.to(self._device)) for piece in images.split(256)]
        return {name: torch.cat([answer[name].float().cpu() for answer in answers]) for name in answers[0]}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """[n, 3, image_px, image_px] in [0, 1] -> per attribute the number of its value, int64 [n]."""
        return {name: answer.argmax(-1) for name, answer in self.logits(images).items()}

    def right(self, images: Tensor, described: Sequence[Scene]) -> Tensor:
        """Which attributes of each picture are as described: bool [n, attributes]."""
        import torch

        from components.text_to_image.judging import values_of

        return torch.stack(list(self.predict(images).values()), dim=1) == values_of(described)

    def joint_log_probabilities(self, images: Tensor) -> Tensor:
        """[n, classes]: log-probability of every combination of values, attributes taken as independent (for the IS)."""
        import torch

        joint = torch.zeros(len(images), 1)
        for answer in self.logits(images).values():
            joint = (joint[:, :, None] + answer.log_softmax(-1)[:, None, :]).flatten(1)
        return joint

    @property
    def _device(self) -> Any:
        return next(self.network.parameters()).device


def judge(
    params: JudgeParams,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    judge: Path,
    judge_curve: Path,
) -> None:
    """Write the judge's folder and its loss curve (CSV). Where the data have no truth, the folder only says so."""
    import shutil

    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.tracking.runs import stage_run
    from components.engines.training.curve import write_curve
    from components.engines.training.launch import launch
    from components.engines.worlds.scenes import ATTRIBUTES

    judge.mkdir(parents=True)
    if CaptionedImages(cleaned, "valid")[0].scene is None:
        write_json(judge / ABSENT, {"reason": "nobody knows what is in these images: a judge could not be checked"})
        write_curve(judge_curve, [])
        return
    with stage_run(context, params.model_dump()) as run:
        make_task = partial(judging, params, architecture.image_px, cleaned)
        fit = launch(make_task, params.training, work=context.work, observer_factory=run.observer)
        run.log_metrics(fit.scores)
    shutil.copyfile(fit.weights / "judge.safetensors", judge / WEIGHTS)
    known = {name: list(values) for name, values in ATTRIBUTES.items()}
    write_json(judge / CONFIG, {"attributes": known, "image_px": architecture.image_px, "width": params.width})
    write_curve(judge_curve, fit.curve)


def judging(params: JudgeParams, image_px: int, cleaned: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.base.seeds import seed_everything
    from components.engines.captioned.dataset import CaptionedImages
    from components.text_to_image.judging import JudgeNetwork, Judging

    seed_everything(params.training.seed, "judge")
    network = JudgeNetwork(params.width, image_px)
    shown = CaptionedImages(cleaned, "valid")[:VALID_IMAGES]
    return Judging(network, image_px, params.training.seed, *known_pictures(shown, image_px))


def known_pictures(shown: Any, image_px: int) -> tuple[Tensor, Tensor]:
    """Captioned images of the sample world as the judge sees them, [n, 3, px, px], and what is in them [n, attributes]."""
    from components.engines.worlds.scenes import Scene
    from components.text_to_image.judging import values_of
    from components.text_to_image.pictures import to_unit

    return to_unit([one.open() for one in shown], image_px), values_of([Scene(**one.scene) for one in shown])


if __name__ == "__main__":
    stage.main(judge)
