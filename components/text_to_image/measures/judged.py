"""What an independent judge says of painted pictures: whether they show what their prompts say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from components.engines.scoring.metrics import compute
from components.engines.scoring.modules.inception_score import inception_score
from components.engines.worlds.scenes import ATTRIBUTES

if TYPE_CHECKING:
    from torch import Tensor

    from components.text_to_image.measures.trial import Trial
    from components.text_to_image.networks.judge import Judge

# what "all four" is about; a fifth, texture, varies where the data have it
FOUR = ("colour", "shape", "position", "size")


class Verdicts:
    """The judge's word on a trial whose pairs tell the truth about their scenes."""

    def __init__(self, trial: Trial, judge: Judge) -> None:
        self.trial, self.judge = trial, judge

    def right(self, images: Tensor, prompts: slice = slice(None)) -> dict[str, np.ndarray]:
        """Per attribute whether the judge sees in picture i what prompt i says, bool [n]; and `all_four` at once."""
        seen = self.judge.predict(images)
        told = [one.scene or {} for one in self.trial.pairs[prompts]]
        found = {
            name: np.array([values[int(number)] == scene[name] for number, scene in zip(seen[name], told, strict=True)])
            for name, values in ATTRIBUTES.items()
        }
        return {**found, "all_four": np.all([found[name] for name in FOUR], axis=0)}

    def figures(self, order: np.ndarray) -> dict[str, Any]:
        """Shares of pictures that are right. `order` [n] says whose picture stands in for each, as a control."""
        trial = self.trial
        right = {setting: self._all_four(images) for setting, images in trial.painted.items() if setting != "ddpm"}
        by_way = {setting: self._shares(found) for setting, found in right.items()}
        guided = {setting: found for setting, found in right.items() if setting.startswith("guidance")}
        real = self.right(trial.real)
        return {
            **{f"all_four_{kind}": share for kind, share in by_way[trial.chosen].items() if kind != "all"},
            **self._best_guidance(guided),
            **self._optimised(by_way),
            **self._slow(right[trial.chosen]),
            "all_four_real_images": float(real["all_four"].mean()),
            "all_four_reconstructed": float(self._all_four(trial.reconstructed).mean()),
            "all_four_shuffled_prompts": float(self._all_four(trial.painted[trial.chosen][order]).mean()),
            "judge_worst_attribute": min(float(real[name].mean()) for name in FOUR),
            "by_way": by_way,
            "is_judge": self._inception_score(trial.painted[trial.chosen]),
            "is_judge_real_images": self._inception_score(trial.real),
            "is_judge_one_image": self._inception_score(trial.real[:1].expand_as(trial.real)),
        }

    def _all_four(self, images: Tensor, prompts: slice = slice(None)) -> np.ndarray:
        return self.right(images, prompts)["all_four"]

    def _shares(self, found: np.ndarray) -> dict[str, float]:
        """Of all prompts, and of those that tell combinations that training saw and did not see, where there are any."""
        unseen = self.trial.unseen
        kinds = {"all": np.full(len(unseen), True), "seen": ~unseen, "unseen": unseen}
        return {kind: float(found[members].mean()) for kind, members in kinds.items() if members.any()}

    def _best_guidance(self, guided: dict[str, np.ndarray]) -> dict[str, float]:
        shares = self._shares(right_at_best(guided))
        figures = {
            f"all_four_best_guidance{'' if kind == 'all' else f'_{kind}'}": share for kind, share in shares.items()
        }
        figures["best_guidance"] = float(best_of(guided).split()[-1])
        if (none := guided.get("guidance 1")) is not None:
            figures["guidance_gain"] = shares["all"] - float(none.mean())
        return figures

    def _optimised(self, by_way: dict[str, dict[str, float]]) -> dict[str, float]:
        teacher = by_way[self.trial.chosen]["all"]
        return {
            f"{setting}_over_teacher": by_way[setting]["all"] / teacher for setting in ("student", "int8") if teacher
        }

    def _slow(self, chosen: np.ndarray) -> dict[str, float]:
        """What DDPM in all its steps gains over the chosen setting, on the prompts that it painted."""
        if "ddpm" not in self.trial.painted:
            return {}
        some = slice(0, self.trial.params.num_ddpm)
        slow, fast = float(self._all_four(self.trial.painted["ddpm"], some).mean()), float(chosen[some].mean())
        return {"all_four_ddpm": slow, "all_four_same_prompts": fast, "few_steps_loss": slow - fast}

    def _inception_score(self, images: Tensor) -> float:
        classes = self.judge.joint_log_probabilities(images).numpy()
        score: float = compute(inception_score, classes, network="judge", splits=1)["is_judge"]
        return score


def best_of(right: dict[str, np.ndarray], members: slice = slice(None)) -> str:
    """The setting that is right most often among these prompts; the first of equals."""
    return max(right, key=lambda setting: int(right[setting][members].sum()))


def right_at_best(right: dict[str, np.ndarray]) -> np.ndarray:
    """Per prompt, whether the best setting is right: bool [n], from bool [n] of each setting.

    The best of a prompt is the setting that does best on the other half of the prompts, so that none helps to choose what it is
    measured by (two-fold cross-fitting): the largest of several noisy shares would flatter.
    """
    found = np.empty(len(next(iter(right.values()))), bool)
    for mine, others in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        found[mine] = right[best_of(right, others)][mine]
    return found
