"""Diffusion training: on stored or fresh encodings, whatever the split over processes."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path
from components.engines.diffusion.denoiser import load_denoiser
from components.engines.diffusion.generator import Generator
from components.engines.latents.cache import EncodedSamples
from components.engines.training.collate import micro_indices
from components.text_to_image.train import denoising
from tests.text_to_image.small import shaped, small, training

ROOMS = ["dit_room", "unet_room"]


@pytest.fixture(params=ROOMS)
def room(request):
    return request.getfixturevalue(request.param)


def test_stored_encodings_give_the_loss_of_fresh_ones(room):
    indices = np.arange(7)
    losses = []
    for on_the_fly in (False, True):
        task = room.task(denoising, "train", on_the_fly=on_the_fly)
        for module in [*task.modules.values(), *task.frozen.values()]:
            module.eval()
        loss, _ = task.loss(task.batch(indices, epoch=1))
        losses.append([loss.item(), task.score()["valid_loss"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_sample_is_drawn_the_same_however_the_batch_is_split(room):
    task = room.task(denoising, "train")
    indices = np.array([5, 3, 11, 0, 7, 2])
    whole = task.batch(indices, epoch=2)
    for world in (2, 3):
        for rank in range(world):
            (mine,) = micro_indices(indices, accumulation_steps=1, rank=rank, world=world)
            part = task.batch(mine, epoch=2)
            rows = [indices.tolist().index(index) for index in mine]
            for name in ("latents", "noise", "timesteps", "dropped"):
                assert torch.equal(part[name], whole[name][rows])
    again, other = task.batch(indices, epoch=2), task.batch(indices, epoch=3)
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert not torch.equal(other["noise"], whole["noise"])


def test_the_loss_of_a_batch_is_the_sum_over_its_samples(room):
    """Padding is left out where every caption of a batch is short: that must not change what is learnt."""
    task = room.task(denoising, "train")
    task.network.eval()
    indices = np.arange(6)
    whole = task.loss(task.batch(indices, 0))[0].item()
    alone = sum(task.loss(task.batch(indices[i : i + 1], 0))[0].item() for i in range(6))
    assert alone == pytest.approx(whole, rel=1e-5)


def test_captions_are_dropped_as_often_as_told_and_replaced_by_the_empty_one(room):
    task = room.task(denoising, "train", caption_dropout=0.3)
    dropped = torch.cat([task.batch(np.arange(10), epoch)["dropped"] for epoch in range(60)]).float()
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.06)
    batch = task.batch(np.arange(8), epoch=0)
    batch["dropped"][:] = torch.arange(8) < 3
    embeddings, mask = task._with_dropout(batch["embeddings"], batch["mask"], batch["dropped"])
    null, null_mask = Generator.load(room.data / "model").encode_prompts([""])
    tokens = mask.shape[1]
    assert torch.equal(embeddings[2], null[0, :tokens])
    assert torch.equal(mask[2], null_mask[0, :tokens])
    assert torch.equal(embeddings[3:], batch["embeddings"][3:])


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_target_is_what_the_sampler_expects(dit_room, prediction):
    """A network that says the target exactly has no loss, and gives the latents back in one step from any noise level."""
    room = small(dit_room.root, dit_room, shaped(noise={"prediction": prediction}))
    task = room.task(denoising, "train", caption_dropout=0.0)
    batch = task.batch(np.arange(4), epoch=0)
    kept = DDPMScheduler.from_config(task.noising.scheduler.config).alphas_cumprod[batch["timesteps"]][
        :, None, None, None
    ]
    latents, noise = batch["latents"], batch["noise"]
    right = noise if prediction == "epsilon" else kept.sqrt() * noise - (1 - kept).sqrt() * latents

    class Knows:
        def __call__(self, noisy, **_):
            torch.testing.assert_close(noisy, kept.sqrt() * latents + (1 - kept).sqrt() * noise)
            return type("Output", (), {"sample": right})

        config = task.network.config
        use_additional_conditions = False

    task.network = Knows()
    assert task.loss(batch)[0].item() == pytest.approx(0, abs=1e-6)


def test_training_lowers_the_loss_and_is_reproducible(dit_room, tmp_path):
    longer = training(
        40, learning_rate=3e-3, ema_decay=0.9, score_every=20, select_metric="valid_loss", precision="bf16"
    )
    rooms = [small(tmp_path / name, dit_room) for name in ("first", "second")]
    folders = [room.run("train", training=longer)["model"] for room in rooms]
    assert digest_path(folders[0]) == digest_path(folders[1])
    rows = [row.split(",") for row in (rooms[0].reports / "train_curve.csv").read_text().splitlines()]
    scores = [float(row[rows[0].index("valid_loss")]) for row in rows[1:] if row[rows[0].index("valid_loss")]]
    untrained = dit_room.task(denoising, "train").score()["valid_loss"]
    assert untrained > scores[0] > scores[1]


def test_on_the_fly_training_learns_what_training_on_stored_encodings_learns(dit_room, tmp_path):
    room = small(tmp_path, dit_room, train={"training": training(3)})
    stored = load_denoiser(room.run("train")["model"], "transformer")
    fresh = load_denoiser(room.run("train", on_the_fly=True)["model"], "transformer")
    for name, weight in stored.state_dict().items():
        torch.testing.assert_close(fresh.state_dict()[name], weight, atol=1e-4, rtol=0)


def test_latents_of_another_autoencoder_or_other_pictures_stop_the_training(dit_room, tmp_path, t2i_data):
    from components.engines.latents.autoencoder import load_autoencoder

    other = small(tmp_path, dit_room)
    network = load_autoencoder(dit_room.data / "autoencoder")
    with torch.no_grad():
        network.quant_conv.bias += 0.1
    network.save_pretrained(other.data / "autoencoder")
    with pytest.raises(StageError, match="made with other autoencoder than there are now"):
        other.run("train")
    with pytest.raises(StageError, match="made with other preprocessing"):
        small(tmp_path / "larger", dit_room, shaped(image_px=32)).run("train")
    with pytest.raises(StageError, match="made with other samples"):
        small(tmp_path / "fewer", dit_room).run("train", curated=t2i_data / "images")


def test_stored_encodings_hold_what_the_denoiser_is_told(dit_room):
    sample = EncodedSamples(dit_room.data / "latents", "train")[0]
    assert sample["latents"].shape == (4, 8, 8)
    assert sample["embeddings"].shape == (20, 16)
    assert sample["mask"].dtype == np.uint8
    assert sample["mask"].tolist() == sorted(sample["mask"].tolist(), reverse=True)


def test_caching_gives_the_same_bytes_again_and_halves_in_fp16(dit_room, tmp_path):
    again = small(tmp_path / "again", dit_room).run("cache_latents", dtype="fp32")["latents"]
    assert digest_path(again) == digest_path(dit_room.data / "latents")
    half = small(tmp_path / "half", dit_room)
    half.run("cache_latents", dtype="fp16")
    assert half.run("train")["model"].is_dir()  # what fp16 rounds is no mismatch


def test_a_denoiser_cannot_be_taken_as_it_is_without_a_checkpoint(dit_room, tmp_path):
    with pytest.raises(UsageError, match="Nothing to use"):
        small(tmp_path, dit_room).run("train", enabled=False)
