"""Diffusion training: on stored or fresh encodings, whatever the split over processes."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path
from components.engines.shards.encoded import EncodedSamples
from components.engines.training.batches import micro_indices
from components.text_to_image.generator import Generator
from components.text_to_image.model import load_denoiser
from tests.text_to_image.t2i_room import Room, shaped, training

ROOMS = ["dit_room", "unet_room"]


@pytest.fixture(params=ROOMS)
def room(request):
    return request.getfixturevalue(request.param)


def test_stored_encodings_give_the_loss_of_fresh_ones(room):
    indices = np.arange(7)
    losses = []
    for on_the_fly in (False, True):
        task = room.task(on_the_fly=on_the_fly)
        for module in [*task.modules.values(), *task.frozen.values()]:
            module.eval()
        loss, _ = task.loss(task.batch(indices, epoch=1))
        losses.append([loss.item(), task.score()["valid_loss"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_sample_is_drawn_the_same_however_the_batch_is_split(room):
    task = room.task()
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
    task = room.task()
    task.network.eval()
    indices = np.arange(6)
    whole = task.loss(task.batch(indices, 0))[0].item()
    alone = sum(task.loss(task.batch(indices[i : i + 1], 0))[0].item() for i in range(6))
    assert alone == pytest.approx(whole, rel=1e-5)


def test_captions_are_dropped_as_often_as_told_and_replaced_by_the_empty_one(room):
    task = room.task(caption_dropout=0.3)
    dropped = torch.cat([task.batch(np.arange(10), epoch)["dropped"] for epoch in range(60)]).float()
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.06)
    batch = task.batch(np.arange(8), epoch=0)
    batch["dropped"][:] = torch.arange(8) < 3
    embeddings, mask = task._with_dropout(batch["embeddings"], batch["mask"], batch["dropped"])
    null, null_mask = Generator.load(room.root / "model").encode_prompts([""])
    tokens = mask.shape[1]
    assert torch.equal(embeddings[2], null[0, :tokens])
    assert torch.equal(mask[2], null_mask[0, :tokens])
    assert torch.equal(embeddings[3:], batch["embeddings"][3:])


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_the_target_is_what_the_sampler_expects(dit_room, prediction):
    """A network that says the target exactly has no loss, and gives the latents back in one step from any noise level."""
    room = Room(dit_room.root, dit_room.data, shaped(noise={"prediction": prediction}))
    task = room.task(caption_dropout=0.0)
    batch = task.batch(np.arange(4), epoch=0)
    kept = DDPMScheduler.from_config(task.noising.config).alphas_cumprod[batch["timesteps"]][:, None, None, None]
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


def test_training_lowers_the_loss_and_is_reproducible(dit_room):
    longer = training(
        40, learning_rate=3e-3, ema_decay=0.9, score_every=20, select_metric="valid_loss", precision="bf16"
    )
    folders = [dit_room.train(out, training=longer) for out in ("first", "second")]
    assert digest_path(folders[0]) == digest_path(folders[1])
    rows = [row.split(",") for row in (dit_room.root / "first_curve.csv").read_text().splitlines()]
    scores = [float(row[rows[0].index("valid_loss")]) for row in rows[1:] if row[rows[0].index("valid_loss")]]
    untrained = dit_room.task().score()["valid_loss"]
    assert untrained > scores[0] > scores[1]


def test_on_the_fly_training_learns_what_training_on_stored_encodings_learns(dit_room):
    stored = load_denoiser(dit_room.train("stored", training=training(3)), "transformer")
    fresh = load_denoiser(dit_room.train("fresh", training=training(3), on_the_fly=True), "transformer")
    for name, weight in stored.state_dict().items():
        torch.testing.assert_close(fresh.state_dict()[name], weight, atol=1e-4, rtol=0)


def test_latents_of_another_autoencoder_or_other_pictures_stop_the_training(dit_room, tmp_path, t2i_data):
    from components.text_to_image.model import load_autoencoder

    other = Room(tmp_path, t2i_data)
    other.text_encoder()
    network = load_autoencoder(dit_room.root / "autoencoder")
    with torch.no_grad():
        network.quant_conv.bias += 0.1
    network.save_pretrained(tmp_path / "autoencoder")
    (tmp_path / "latents").symlink_to(dit_room.root / "latents")
    with pytest.raises(StageError, match="made with other autoencoder than there are now"):
        other.train()
    larger = Room(dit_room.root, t2i_data, shaped(image_px=32))
    with pytest.raises(StageError, match="made with other preprocessing"):
        larger.train("larger")
    fewer = Room(dit_room.root, t2i_data)
    fewer.curated = t2i_data / "images"
    with pytest.raises(StageError, match="made with other samples"):
        fewer.train("fewer")


def test_stored_encodings_hold_what_the_denoiser_is_told(dit_room):
    sample = EncodedSamples(dit_room.root / "latents", "train")[0]
    assert sample["latents"].shape == (4, 8, 8)
    assert sample["embeddings"].shape == (20, 16)
    assert sample["mask"].dtype == np.uint8
    assert sample["mask"].tolist() == sorted(sample["mask"].tolist(), reverse=True)


def test_precompute_gives_the_same_bytes_again_and_halves_in_fp16(dit_room, tmp_path):
    again = Room(tmp_path, dit_room.data)
    for name in ("autoencoder", "text_encoder"):
        (tmp_path / name).symlink_to(dit_room.root / name)
    again.precompute(dtype="fp32")
    assert digest_path(tmp_path / "latents") == digest_path(dit_room.root / "latents")
    half = Room(tmp_path / "half", dit_room.data)
    (tmp_path / "half").mkdir()
    for name in ("autoencoder", "text_encoder"):
        (tmp_path / "half" / name).symlink_to(dit_room.root / name)
    half.precompute(dtype="fp16")
    assert half.train().is_dir()  # what fp16 rounds is no mismatch


def test_a_denoiser_cannot_be_taken_as_it_is_without_a_checkpoint(dit_room):
    with pytest.raises(UsageError, match="Nothing to use"):
        dit_room.train("none", enabled=False)
