"""Cheaper denoisers: the student's targets are the teacher's steps, and 8-bit weights give nearly the same pictures."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from pydantic import ValidationError
from safetensors import safe_open

from components.engines.base.paths import digest_path, read_json
from components.engines.diffusion.distillation import Levels, walk
from components.engines.diffusion.generator import Generator
from components.engines.diffusion.quantization import output_error, quantize_weights, weight_bytes
from components.engines.diffusion.sampling import make_schedule
from components.engines.tracking.models import refuse_pickles
from components.text_to_image.distill import Distill, distilling
from tests.text_to_image.small import small, training

PROMPTS = ["a small plain red circle in the top left", "a large plain blue cross in the top right"]


def params(steps=4, **changes):
    learning = training(steps, batch_size=4, learning_rate=2e-3, score_every=steps, select_metric="valid_distance")
    chosen = {
        "steps": 2,
        "teacher_steps": 4,
        "guidance": 2.0,
        "optimizer_steps": 2,
        "valid_samples": 6,
        "training": learning,
    }
    return Distill(**{**chosen, **changes})


@pytest.fixture(scope="module")
def distilled(tmp_path_factory, dit_room):
    return small(tmp_path_factory.mktemp("distilled"), dit_room, distill=params(40)).run("distill")


def test_the_walk_is_what_the_generator_does(dit_room):
    generator = Generator.load(dit_room.data / "model")
    noise = torch.stack(
        [torch.randn(generator.latent_shape, generator=torch.Generator().manual_seed(s)) for s in (3, 4)]
    )
    embeddings, mask = generator.encode_prompts(PROMPTS)
    batch = {"noise": noise, "embeddings": embeddings, "mask": mask}
    null = generator.encode_prompts([""])
    places = walk(generator.network, generator.scheduler, batch, 4, 2.0, null)
    assert len(places) == 5
    with torch.no_grad():
        ours = generator.decode(places[-1])
    theirs = generator.generate(PROMPTS, seeds=[3, 4], steps=4, guidance=2.0)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_who_predicts_the_target_lands_where_the_teacher_did(prediction):
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2" if prediction == "v_prediction" else "scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        timestep_spacing="trailing",
    )
    here, there = torch.randn((2, 5, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    levels = Levels(scheduler, 4)
    schedule = make_schedule("ddim", scheduler)
    schedule.set_timesteps(4)
    assert torch.equal(levels.times, schedule.timesteps)
    for i, time in enumerate(schedule.timesteps):
        landed = schedule.step(levels.target(i, here, there), time, here).prev_sample
        torch.testing.assert_close(landed, there, atol=2e-3, rtol=1e-3)


def test_a_rollout_holds_every_step_of_every_trajectory(dit_room):
    task = distilling(params(), dit_room.data / "latents", dit_room.data / "model")
    batch = task.batch(np.arange(3), 0)
    rolled = task.rollout(batch, 0)
    assert rolled["noisy"].shape == rolled["target"].shape == (6, *task.latent_shape)
    assert rolled["timesteps"].tolist() == [999] * 3 + [499] * 3
    assert torch.equal(rolled["noisy"][:3], batch["noise"])
    assert task.turns[0].weight(rolled) == 6
    alone = task.rollout(task.batch(np.array([1]), 0), 0)
    torch.testing.assert_close(alone["target"], rolled["target"][[1, 4]], atol=1e-4, rtol=1e-4)


def test_a_student_that_says_the_targets_has_no_loss(dit_room):
    task = distilling(params(steps=1), dit_room.data / "latents", dit_room.data / "model")
    rolled = task.rollout(task.batch(np.arange(3), 0), 0)
    said = task.student(
        rolled["noisy"],
        timestep=rolled["timesteps"],
        encoder_hidden_states=rolled["embeddings"],
        encoder_attention_mask=rolled["mask"],
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
    ).sample
    loss, _ = task.loss(rolled)
    expected = (said - rolled["target"]).square().flatten(1).mean(1).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    exact, _ = task.loss({**rolled, "target": said.detach()})
    assert exact.item() == pytest.approx(0, abs=1e-8)


def test_the_student_comes_nearer_to_the_guided_teacher(distilled, dit_room):
    before = distilling(params(), dit_room.data / "latents", dit_room.data / "model").score()["valid_distance"]
    rows = [row.split(",") for row in distilled["distill_curve"].read_text().splitlines()]
    after = float(rows[-1][rows[0].index("valid_distance")])
    assert after < before
    assert read_json(distilled["student"] / "student.json") == {
        "sampler": "ddim", "steps": 2, "guidance": 1.0, "teacher": {"steps": 4, "guidance": 2.0},
    }  # fmt: skip
    model = dit_room.data / "model"
    student, teacher = Generator.load(model, distilled["student"]), Generator.load(model)
    options = {"seeds": [1, 2], "steps": 2, "guidance": 1.0}
    assert not torch.equal(student.generate(PROMPTS, **options), teacher.generate(PROMPTS, **options))


def test_the_teacher_is_not_trained(dit_room):
    task = distilling(params(), dit_room.data / "latents", dit_room.data / "model")
    trained = {id(parameter) for parameter in task.turns[0].parameters}
    assert trained == {id(parameter) for parameter in task.student.parameters()}
    assert not trained & {id(parameter) for parameter in task.teacher.parameters()}
    assert not any(parameter.requires_grad for parameter in task.teacher.parameters())


@pytest.mark.parametrize(("kind", "part"), [("dit_room", "transformer"), ("unet_room", "unet")])
def test_eight_bits_give_nearly_the_same_at_less_size(kind, part, request, tmp_path):
    model = request.getfixturevalue(kind).data / "model"
    quantize_weights(model / part, tmp_path / "int8")
    refuse_pickles(tmp_path / "int8")
    assert weight_bytes(tmp_path / "int8") < weight_bytes(model / part)
    with safe_open(next((tmp_path / "int8").glob("*.safetensors")), "pt") as file:
        assert torch.int8 in {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 - it is no mapping
    exact, small = Generator.load(model), Generator.load(model, tmp_path / "int8")
    assert 0 < output_error(exact, small, PROMPTS, seed=0) < 0.02
    assert output_error(exact, exact, PROMPTS, seed=0) == 0
    made, near = (one.generate(PROMPTS, seeds=[1, 2], steps=2, guidance=2.0) for one in (exact, small))
    assert 0 < (made - near).abs().max() < 0.1


def test_quantizing_again_gives_the_same_bytes(dit_room, tmp_path):
    for name in ("once", "again"):
        quantize_weights(dit_room.data / "model/transformer", tmp_path / name)
    assert digest_path(tmp_path / "once") == digest_path(tmp_path / "again")


def test_steps_that_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="teacher_steps 8 must be a multiple of steps 3"):
        Distill(steps=3, training=training())
