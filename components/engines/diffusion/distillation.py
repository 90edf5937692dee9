"""The distillation task: a student that takes one step where its guided teacher takes several, two networks at a time.

Progressive distillation (Salimans & Ho 2022, arXiv 2202.00512) of a teacher with classifier-free guidance, which the student
learns to do without (Meng et al. 2022, arXiv 2210.03142): one forward pass a step in place of two. As in Luhman & Luhman 2021
(arXiv 2101.02388) the student learns at points of the teacher's own trajectory from noise to picture: it meets these when it
samples. All of its steps are learnt from one such trajectory.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.engines.base.errors import UsageError
from components.engines.diffusion.denoiser import denoise
from components.engines.diffusion.sampling import make_schedule
from components.engines.diffusion.task import CachedInputs, Draw
from components.engines.training.task import Batch, Task, Turn

VALID_BATCH = 32


class Distilling(Task):
    """Sample i is the caption of `train[i]`, with noise of its own in every epoch; `valid` is what `score()` walks from.

    Batches: `embeddings` [n, tokens, width], `mask` [n, tokens], `noise` [n, channels, side, side]. What the rollout makes of
    one: `noisy`, `target` [n · steps, channels, side, side], `timesteps` [n · steps], embeddings and mask repeated.
    """

    def __init__(
        self,
        teacher: Any,
        scheduler: Any,
        train: CachedInputs,
        valid: CachedInputs,
        null: tuple[Tensor, Tensor],
        *,
        steps: int,
        teacher_steps: int,
        guidance: float,
        optimizer_steps: int,
        valid_samples: int,
        seed: int,
    ) -> None:
        if teacher_steps % steps:
            raise UsageError(f"teacher_steps {teacher_steps} is no multiple of steps {steps}", where="distill")
        self.teacher, self.student = teacher.requires_grad_(False), copy.deepcopy(teacher).requires_grad_(True)
        self.scheduler, self.train, self.valid, self.null = scheduler, train, valid, null
        self.steps, self.teacher_steps, self.guidance, self.seed = steps, teacher_steps, guidance, seed
        self.valid_count = min(valid_samples, len(valid))
        self.modules, self.frozen = {"student": self.student}, {"teacher": teacher}
        self.num_samples = len(train)
        config = teacher.config
        self.latent_shape = (config.in_channels, config.sample_size, config.sample_size)
        parameters = list(self.student.parameters())
        self.turns = [
            Turn("student", self.loss, parameters, weight=lambda batch: len(batch["noisy"]), repeats=optimizer_steps)
        ]
        self._ends: list[Tensor] | None = None  # of the teacher's trajectories on the validation captions

    def batch(self, indices: np.ndarray, epoch: int) -> Batch:
        return self._collate(self.train, indices, f"epoch {epoch}")

    def _collate(self, inputs: CachedInputs, indices: np.ndarray, purpose: str) -> Batch:
        stored = inputs.collate(indices.tolist())
        noise = [Draw.of(self.latent_shape, 1, 0.0, self.seed, "distil", purpose, i).noise for i in indices.tolist()]
        return {
            "embeddings": stored["embeddings"],
            "mask": stored["mask"],
            "noise": torch.from_numpy(np.stack(noise)),
        }

    def rollout(self, batch: Batch, step: int) -> Batch:
        """The teacher's trajectory from the batch's noise, cut into the student's steps."""
        trajectory = walk(self.teacher, self.scheduler, batch, self.teacher_steps, self.guidance, self.null)
        places = trajectory[:: self.teacher_steps // self.steps]  # steps + 1 tensors [n, channels, side, side]
        levels = Levels(self.scheduler, self.steps)
        targets = [levels.target(i, places[i], places[i + 1]) for i in range(self.steps)]
        times = levels.times.to(batch["noise"].device)
        return {
            "noisy": torch.cat(places[:-1]),
            "target": torch.cat(targets),
            "timesteps": times.repeat_interleave(len(batch["noise"])),
            "embeddings": batch["embeddings"].repeat(self.steps, 1, 1),
            "mask": batch["mask"].repeat(self.steps, 1),
        }

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of each prediction, summed. Of velocities it weighs pictures by 1 + SNR (arXiv 2202.00512, § 4)."""
        predicted = denoise(self.student, batch["noisy"], batch["timesteps"], batch["embeddings"], batch["mask"])
        error = functional.mse_loss(predicted.float(), batch["target"], reduction="none")
        return error.flatten(1).mean(1).sum(), {}

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """How far the student's latents end from the teacher's, from the same noise: root mean square, on validation captions.

        Latents have standard deviation 1.
        """
        pieces = [
            np.arange(start, min(start + VALID_BATCH, self.valid_count))
            for start in range(0, self.valid_count, VALID_BATCH)
        ]
        device = next(self.student.parameters()).device
        batches = [
            {name: tensor.to(device) for name, tensor in self._collate(self.valid, piece, "valid").items()}
            for piece in pieces
        ]
        if self._ends is None:  # the teacher does not change
            args = (self.teacher_steps, self.guidance, self.null)
            self._ends = [walk(self.teacher, self.scheduler, batch, *args)[-1] for batch in batches]
        made = [walk(self.student, self.scheduler, batch, self.steps, 1.0, self.null)[-1] for batch in batches]
        return {"valid_distance": float((torch.cat(made) - torch.cat(self._ends)).square().mean().sqrt())}


class Levels:
    """The student's timesteps, and what it must predict at each so that one DDIM step lands where the teacher did."""

    def __init__(self, scheduler: Any, steps: int) -> None:
        schedule = make_schedule("ddim", scheduler)
        schedule.set_timesteps(steps)
        self.times = schedule.timesteps  # int64 [steps], falling
        self.prediction = schedule.config.prediction_type
        shares = torch.cat([schedule.alphas_cumprod[self.times], schedule.final_alpha_cumprod.reshape(1)])
        self.signal, self.noise = shares.sqrt(), (1 - shares).sqrt()  # [steps + 1]

    def target(self, i: int, here: Tensor, there: Tensor) -> Tensor:
        """Of step i, from latents `here` to `there`, [n, …]: the velocity or noise, as the network predicts it."""
        a, s, a_next, s_next = (
            float(x) for x in (self.signal[i], self.noise[i], self.signal[i + 1], self.noise[i + 1])
        )
        picture = (there - s_next / s * here) / (a_next - s_next / s * a)  # DDIM's step, solved for x_0 (appendix G)
        if self.prediction == "v_prediction":
            return (a * here - picture) / s
        return (here - a * picture) / s


@torch.no_grad()
def walk(
    network: Any, scheduler: Any, batch: Batch, steps: int, guidance: float, null: tuple[Tensor, Tensor]
) -> list[Tensor]:
    """DDIM's trajectory from `batch["noise"]`: steps + 1 tensors [n, channels, side, side], float32, the noise first."""
    schedule = make_schedule("ddim", scheduler)
    schedule.set_timesteps(steps)
    embeddings, mask = batch["embeddings"], batch["mask"]
    if guidance != 1:
        embeddings = torch.cat([null[0].to(embeddings).expand_as(embeddings), embeddings])
        mask = torch.cat([null[1].to(mask).expand_as(mask), mask])
    places = [batch["noise"]]
    for time in schedule.timesteps:
        given = torch.cat([places[-1]] * (len(mask) // len(places[-1])))
        predicted = denoise(network, given, time.expand(len(given)).to(given.device), embeddings, mask).float()
        if guidance != 1:
            without, with_it = predicted.chunk(2)
            predicted = without + guidance * (with_it - without)
        places.append(schedule.step(predicted, time, places[-1]).prev_sample)
    return places
