"""Training on stored or fresh encodings of videos and pictures together; stale stored ones are refused."""

import re

import numpy as np
import pytest
import torch
import transformers

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.generator import Generator
from components.engines.diffusion.text_encoders import of_clip
from components.engines.latents.cache import EncodedSamples
from components.engines.training.collate import micro_indices
from components.engines.videos.dataset import Videos
from components.text_to_video.finetune import chosen, denoising
from components.text_to_video.train_autoencoder import reconstruction
from tests.text_to_image.small import make_tokenizer
from tests.text_to_video.small import DENOISER, shaped, small, training


@pytest.fixture(scope="module")
def task(t2v_room):
    return t2v_room.task(denoising, "finetune")


def test_latents_have_the_shape_of_their_bucket_and_unit_scale(t2v_room):
    stored, videos = (
        kind(t2v_room.at("data/text_to_video/" + name), "train")
        for kind, name in ((EncodedSamples, "latents"), (Videos, "curated"))
    )
    assert len(stored) == len(videos)
    for one, video in zip(stored, videos, strict=True):
        frames = 1 if video.metadata["frames"] < 9 else 3
        assert one["latents"].shape == (4, frames, 4, 4)
        assert one["still"].shape == (4, 1, 4, 4)
    clips = np.stack([one["latents"] for one in stored if one["latents"].shape[1] == 3])
    assert np.abs(clips.mean((0, 2, 3, 4))).max() < 0.3
    assert np.abs(clips.std((0, 2, 3, 4)) - 1).max() < 0.3


def test_a_batch_holds_a_group_for_each_length_and_its_loss_is_the_sum_over_samples(task):
    task.network.eval()
    indices = np.arange(task.num_samples)
    batch = task.batch(indices, 0)
    shapes = {batch[f"{number}.noise"].shape[1:] for number in (0, 1)}
    assert shapes == {(4, 1, 4, 4), (4, 3, 4, 4)}
    assert task.turns[0].weight(batch) == task.num_samples
    alone = sum(task.loss(task.batch(indices[i : i + 1], 0))[0].item() for i in range(6))
    assert task.loss(task.batch(indices[:6], 0))[0].item() == pytest.approx(alone, rel=1e-4)


def test_a_sample_is_drawn_the_same_however_the_batch_is_split(task):
    indices = np.array([5, 3, 11, 0, 7, 2])

    def noise(members):
        batch = task.batch(np.array(members), 2)
        return sum(float(tensor.double().abs().sum()) for name, tensor in batch.items() if name.endswith("noise"))

    parts = [noise(micro_indices(indices, accumulation_steps=1, rank=rank, world=2)[0]) for rank in (0, 1)]
    assert sum(parts) == pytest.approx(noise(indices))


def test_stored_encodings_give_the_loss_of_fresh_ones(t2v_room):
    losses = []
    for on_the_fly in (False, True):
        task = t2v_room.task(denoising, "finetune", on_the_fly=on_the_fly)
        for module in [*task.modules.values(), *task.frozen.values()]:
            module.eval()
        losses.append([task.loss(task.batch(np.arange(7), epoch=1))[0].item(), task.score()["valid_loss"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_pictures_may_be_left_out_and_a_share_of_the_videos_taken():
    frames = [1, 9, 9, 1, 9, 9]
    assert chosen(frames, True, 1.0) == [0, 1, 2, 3, 4, 5]
    assert chosen(frames, False, 0.5) == [1, 4]
    assert chosen(frames, True, 0.25) == [0, 1, 3]


@pytest.mark.parametrize("pictures", [3, 60])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_pictures_have_their_share_of_what_is_learnt_and_nothing_is_left_out(pictures, share):
    frames = [9] * 20 + [1] * pictures
    places = chosen(frames, True, 1.0, share)
    assert sum(place >= 20 for place in places) / len(places) == pytest.approx(share, abs=0.03)
    assert set(places) == set(range(20 + pictures))
    times = [places.count(place) for place in range(20)]
    assert max(times) - min(times) <= 1
    assert chosen(frames, False, 1.0, share) == list(range(20))


@pytest.mark.parametrize("network", ["latte", "unet3d"])
def test_other_denoisers_train_on_the_same_latents(tmp_path, t2v_room, network):
    room = small(tmp_path, t2v_room, denoiser=DENOISER.model_copy(update={"network": network}))
    for stage in ("pretrain", "finetune"):
        room.run(stage)
    generator = Generator.load(room.data / "model")
    made = generator.generate(["a red circle"], seeds=[1], steps=2, sampler="euler", shape=(4, 3, 4, 4))
    assert made.shape == (1, 3, 5, 16, 16)


def test_only_whole_clips_teach_what_works_in_time(t2v_room):
    task = t2v_room.task(reconstruction, "train_autoencoder")
    batch = task.batch(np.arange(2), 0)
    temporal = next(
        p for name, p in task.autoencoder.named_parameters() if "time_conv" in name and name.endswith("weight")
    )
    for step, learns in ((0, False), (1, True)):
        task.step = step
        task.autoencoder.zero_grad()
        task.loss(batch)[0].backward()
        assert (temporal.grad is not None and bool(temporal.grad.abs().sum() > 0)) == learns


def refused(room, stage="finetune"):
    with pytest.raises(StageError) as caught:
        room.run(stage)
    return str(caught.value)


def test_stored_latents_of_another_autoencoder_are_refused(tmp_path, t2v_room):
    room = small(tmp_path, t2v_room, train_autoencoder={"training": training(2, seed=9), "standardised_over": 8})
    room.run("train_autoencoder")
    assert "other autoencoder" in refused(room)


def test_stored_latents_of_other_preprocessing_are_refused(tmp_path, t2v_room):
    buckets = [{"frames": 1, "height": 16, "width": 16}, {"frames": 5, "height": 16, "width": 16, "stride": 1}]
    room = small(tmp_path, t2v_room, shaped(buckets=buckets))
    assert "other preprocessing" in refused(room)


def test_a_damaged_sample_is_refused_with_its_name(tmp_path, t2v_room):
    room = small(tmp_path, t2v_room)
    room.run("cache_latents", dtype="fp32")
    for shard in (room.data / "latents").glob(
        "train-*.tar"
    ):  # every sample: which ones a short training draws is chance
        shard.chmod(0o644)
        data = bytearray(shard.read_bytes())
        for found in re.finditer(b"embeddings", shard.read_bytes()):
            data[found.end() + 400] ^= 0xFF
        shard.write_bytes(data)
    assert "damaged" in refused(room)


def test_latents_are_the_same_whatever_the_number_of_workers_and_batches(tmp_path, t2v_room):
    room = small(tmp_path, t2v_room)
    made = digest_path(room.run("cache_latents", dtype="fp32")["latents"])
    assert made == digest_path(t2v_room.at("data/text_to_video/latents"))


def test_training_twice_gives_the_same_bytes(tmp_path, t2v_room):
    first, second = (small(tmp_path / name, t2v_room).run("finetune")["model"] for name in "ab")
    assert digest_path(first) == digest_path(second)


def test_flows_end_where_their_straight_lines_do():
    from components.engines.diffusion.denoiser import Noise, build_scheduler
    from components.engines.diffusion.noising import noising_of
    from components.engines.diffusion.sampling import make_schedule, sample_latents

    scheduler = build_scheduler(Noise(prediction="flow", shift=2.0))
    noising = noising_of(scheduler)
    latents, noise = torch.randn(3, 2, 2, 4, 4), torch.randn(3, 2, 2, 4, 4)
    numbers = torch.tensor([0, 500, 999])
    noisy = noising.noisy(latents, noise, numbers)
    share = noising.times(numbers) / 1000
    torch.testing.assert_close(noisy - share.view(-1, 1, 1, 1, 1) * noising.target(latents, noise, numbers), latents)
    assert share[0] == 1
    target = torch.full((2, 2, 4, 4), 0.7)
    for sampler in ("euler", "unipc"):
        made = sample_latents(
            lambda x, t: (x - target) / (t / 1000).view(-1, 1, 1, 1, 1),  # the field that leads to `target`
            make_schedule(sampler, scheduler), (2, 2, 4, 4), [1, 2], [], steps=8,
        )  # fmt: skip
        torch.testing.assert_close(made, target.expand_as(made), atol=0.02, rtol=0)


def test_the_captions_own_text_encoder_knows_words_of_motion_that_the_clip_room_never_read(t2v_room, tmp_path):
    """Cut into letters, they left directions wrong in half of the clips."""
    room = small(tmp_path, t2v_room)
    longer = training(120, batch_size=16, learning_rate=1e-2, score_every=20, select_metric="valid_loss")
    outs = room.run("train_text_encoder", training=longer)
    rows = [row.split(",") for row in outs["text_encoder_curve"].read_text().splitlines()]
    losses = [float(row[rows[0].index("valid_loss")]) for row in rows[1:] if row[rows[0].index("valid_loss")]]
    assert losses[-1] < 0.75 * losses[0]
    reader = Conditioner.load(outs["text_encoder"])
    for word in ("moves", "up", "left", "slowly"):
        cut = [token.strip("Ġ ") for token in reader.tokenizer.tokenize(f"circle {word}, a")]
        assert cut[:2] == ["circle", word]
    ways = ["a red circle moves up slowly", "a red circle moves left slowly", "a red circle moves up fast"]
    embeddings = reader.encode(ways)[0]
    assert not torch.allclose(embeddings[0], embeddings[1])
    assert not torch.allclose(embeddings[0], embeddings[2])


def test_the_clip_rooms_text_tower_is_taken_where_it_is_asked_for(t2v_room, tmp_path):
    outs = small(tmp_path, t2v_room, shaped(text={"encoder": "clip"})).run("train_text_encoder")
    assert outs["text_encoder_curve"].read_text() == "step\n"
    tower = of_clip(t2v_room.at("data/clip/model"), 16)
    told = Conditioner.load(outs["text_encoder"])
    assert torch.equal(told.encode(["red circle"])[0], tower.encode(["red circle"])[0])


@pytest.mark.parametrize("kind", ["T5", "UMT5"])
def test_the_encoder_of_a_checkpoint_is_used_as_it_is(kind, t2v_room, tmp_path):
    tokenizer = make_tokenizer()
    shape = {"vocab_size": len(tokenizer), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    given = getattr(transformers, f"{kind}ForConditionalGeneration")(getattr(transformers, f"{kind}Config")(**shape))
    for part in (given, tokenizer):
        part.save_pretrained(tmp_path / "given")
    room = small(tmp_path, t2v_room, shaped(text={"init_from": str(tmp_path / "given")}))
    told = Conditioner.load(room.run("train_text_encoder")["text_encoder"])
    ids, mask = told.tokens(["a red circle"])
    expected = given.eval().encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(told.encode(["a red circle"])[0], expected.detach(), atol=1e-5, rtol=0)
    (tmp_path / "given/config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(UsageError, match="Cannot load a text encoder: it is a gpt2"):
        room.run("train_text_encoder")
