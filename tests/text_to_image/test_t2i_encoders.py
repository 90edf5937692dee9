"""What goes into the denoiser: pixels, latents, text embeddings."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPTextModel, T5EncoderModel

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path, write_json
from components.engines.captioned.dataset import CaptionedImages
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.encoding import encode_pixels
from components.engines.images.pixels import to_pixels
from components.engines.language.spans import corrupt
from components.engines.latents.autoencoder import build_autoencoder, load_autoencoder
from components.engines.latents.standardize import latent_statistics, standardise
from components.engines.scoring.embedder import Embedder
from tests.text_to_image.small import SMALL, make_tokenizer, shaped, small, training


def picture(width, height):
    columns = np.tile(np.arange(width, dtype=np.uint8), (height, 1))
    return Image.fromarray(np.stack([columns] * 3, -1))


def test_the_middle_square_of_a_picture_is_taken():
    wide = to_pixels([picture(30, 10)], 10)[0, 0, 0]
    assert ((wide + 1) * 127.5).round().tolist() == list(range(10, 20))
    assert to_pixels([picture(10, 30)], 10).shape == (1, 3, 10, 10)


def test_pixels_keep_the_mean_and_stay_between_minus_1_and_1():
    edge = Image.fromarray(np.repeat(np.array([[[0] * 3, [255] * 3]], np.uint8), 64, 0).repeat(32, 1))
    pixels = to_pixels([edge], 16)
    assert pixels.dtype == torch.float32
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert pixels.mean().item() == pytest.approx(0, abs=0.01)
    assert to_pixels([Image.new("RGB", (64, 64), (51, 0, 255))], 16)[0, :, 3, 5].tolist() == pytest.approx(
        [-0.6, -1, 1]
    )


@pytest.fixture
def autoencoder():
    torch.manual_seed(3)
    return build_autoencoder(SMALL.autoencoder, SMALL.image_px)


def test_standardised_latents_have_mean_0_and_variance_1_and_pictures_do_not_change(autoencoder, t2i_data):
    images = CaptionedImages(t2i_data / "cleaned", "train")
    pixels = to_pixels([one.open() for one in images[:8]], 16)
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mode()).sample
        spread = autoencoder.encode(pixels).latent_dist.std
    _, deviation = latent_statistics(autoencoder, images, 16, 1000)
    standardise(autoencoder, images, 16, 1000)
    with torch.no_grad():
        latents = encode_pixels(autoencoder, pixels)
        posterior = autoencoder.encode(pixels).latent_dist
        torch.testing.assert_close(posterior.mode(), latents)  # plain diffusers, which knows no shift, sees the same
        torch.testing.assert_close(autoencoder.decode(latents).sample, before, atol=1e-4, rtol=0)
        torch.testing.assert_close(posterior.std * deviation[:, None, None], spread, atol=1e-4, rtol=1e-3)
    mean, deviation = latent_statistics(autoencoder, images, 16, 1000)
    torch.testing.assert_close(mean, torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation, torch.ones(4), atol=1e-3, rtol=0)
    assert (autoencoder.config.scaling_factor, autoencoder.config.shift_factor) == (1.0, 0.0)


def test_a_collapsed_autoencoder_is_refused(autoencoder, t2i_data):
    with torch.no_grad():
        autoencoder.quant_conv.weight.zero_()
        autoencoder.quant_conv.bias.zero_()
    with pytest.raises(StageError, match="collapsed"):
        standardise(autoencoder, CaptionedImages(t2i_data / "cleaned", "train"), 16, 8)


def test_the_autoencoder_learns(tmp_path, t2i_base):
    longer = training(60, learning_rate=1e-2, score_every=10, select_metric="valid_psnr")
    outs = small(tmp_path, t2i_base).run("train_autoencoder", training=longer)
    rows = [row.split(",") for row in outs["autoencoder_curve"].read_text().splitlines()]
    scores = [float(row[rows[0].index("valid_psnr")]) for row in rows[1:] if row[rows[0].index("valid_psnr")]]
    assert scores[-1] > scores[0] + 1  # dB
    assert load_autoencoder(outs["autoencoder"]).config.scaling_factor == 1.0


def test_the_autoencoder_is_reproducible(tmp_path, t2i_base):
    rooms = [small(tmp_path / name, t2i_base) for name in "ab"]
    settings = training(3, select_metric="valid_psnr", precision="bf16", batch_size=6)
    first, second = (room.run("train_autoencoder", training=settings)["autoencoder"] for room in rooms)
    assert digest_path(first) == digest_path(second)


def test_an_autoencoder_cannot_be_taken_as_it_is_without_a_checkpoint(tmp_path, t2i_base):
    with pytest.raises(UsageError, match="Nothing to use"):
        small(tmp_path, t2i_base).run("train_autoencoder", enabled=False)


@pytest.fixture
def conditioner(dit_room):
    return Conditioner.load(dit_room.data / "text_encoder")


def test_clips_text_tower_is_kept_bit_for_bit(conditioner, t2i_base):
    assert isinstance(conditioner.network, CLIPTextModel)
    text = "a small plain red circle in the top left"
    whole = Embedder.load(t2i_base.root / "data/clip/model")
    with torch.no_grad():
        expected = whole.network.text_model(whole.tokens([text])["input_ids"]).last_hidden_state
    embeddings, mask = conditioner.encode([text])
    assert embeddings.shape == (1, 20, conditioner.width)
    assert mask.sum() == 11
    torch.testing.assert_close(embeddings[:, :11], expected, atol=1e-6, rtol=0)


def test_a_text_that_comes_again_is_embedded_once(conditioner, monkeypatch):
    seen = []
    embed = conditioner.embed
    monkeypatch.setattr(conditioner, "embed", lambda ids, mask: seen.append(len(ids)) or embed(ids, mask))
    texts = ["red circle", "blue cross", "red circle", "", "red circle"]
    embeddings, mask = conditioner.encode(texts)
    assert seen == [3]
    for text, one, kept in zip(texts, embeddings, mask, strict=True):
        alone, alone_mask = conditioner.encode([text])
        torch.testing.assert_close(one, alone[0], atol=1e-6, rtol=0)
        assert torch.equal(kept, alone_mask[0])


def test_a_long_text_is_cut_and_keeps_its_end(conditioner):
    ids, mask = conditioner.tokens(["red " * 50])
    assert ids.shape == (1, 20)
    assert mask.sum() == 20
    assert ids[0, -1] == conditioner.tokenizer.eos_token_id


def test_texts_that_are_cut_are_told_of_with_what_helps(conditioner, caplog):
    conditioner.warn_of_cut(["", "red " * 18], "prompts")  # with begin and end just as many as are read
    assert caplog.messages == []
    conditioner.warn_of_cut(["red " * 19, "a red circle", "red " * 30], "prompts")
    told = "2 of 3 prompts are cut after 20 tokens (the longest has 32): shorten them, or train with a larger "
    assert caplog.messages == [told + "architecture.text.max_tokens"]
    caplog.clear()
    positions = conditioner.network.config.max_position_embeddings
    Conditioner(conditioner.network, conditioner.tokenizer, 10 * positions).warn_of_cut(["red " * positions], "prompts")
    (said,) = caplog.messages
    assert said.startswith(f"1 of 1 prompts are cut after {positions} tokens")
    assert said.endswith("train with a larger text encoder than this one")


def test_captions_that_are_cut_are_told_of(tmp_path, t2i_base, caplog):
    captions = [one.caption for one in CaptionedImages(t2i_base.data / "curated", "train")]
    tokenizer = Embedder.load(t2i_base.root / "data/clip/model").tokenizer
    lengths = [len(tokenizer(one)["input_ids"]) for one in captions]
    limit = max(lengths) - 1
    small(tmp_path, t2i_base, shaped(text={"max_tokens": limit})).run("train_text_encoder")
    told = f"{lengths.count(limit + 1)} of {len(captions)} captions are cut after {limit} tokens"
    assert [one.partition(" (")[0] for one in caplog.messages if "are cut" in one] == [told]


def test_no_text_encoder_no_conditioner(tmp_path, t2i_data):
    with pytest.raises(UsageError, match="Cannot load a text encoder"):
        Conditioner.load(tmp_path)


@pytest.mark.parametrize("mean_span", [1.0, 2.5])
def test_spans_put_back_give_the_text(mean_span):
    sentinels = list(range(100, 110))
    for seed in range(200):
        length = 2 + seed % 19
        ids = [1, *range(10, 10 + length - 2), 3]
        source, target = corrupt(ids, sentinels, 0.3, mean_span, seed)
        assert target[-1] == 3
        filled, spans, number = [], {}, None
        for token in target[:-1]:
            if token >= 100:
                number = spans.setdefault(token, [])
            else:
                number.append(token)
        for token in source:
            filled += spans[token] if token >= 100 else [token]
        assert filled == ids
        assert [token for token in source if token >= 100] == sentinels[: len(spans)]
        if length > 2:
            assert sum(map(len, spans.values())) == max(round(0.3 * (length - 2)), 1)


def test_spans_fall_anywhere():
    gone = np.zeros(12)
    for seed in range(400):
        source, _ = corrupt([1, *range(10, 20), 3], [100, 101, 102], 0.3, 1.5, seed)
        gone += [token not in source for token in [1, *range(10, 20), 3]]
    assert (gone[0], gone[11]) == (0, 0)
    assert gone[1:11].min() > 60  # of 120 expected each
    assert gone[1:11].max() < 240


def test_a_t5_from_scratch_fills_in_spans_and_its_encoder_is_kept(tmp_path, t2i_base):
    room = small(tmp_path, t2i_base, shaped(text={"encoder": "t5", "t5_width": 32}))
    outs = room.run(
        "train_text_encoder",
        training=training(60, batch_size=16, learning_rate=1e-2, score_every=20, select_metric="valid_loss"),
    )
    rows = [row.split(",") for row in outs["text_encoder_curve"].read_text().splitlines()]
    accuracy = [float(row[rows[0].index("valid_accuracy")]) for row in rows[1:] if row[rows[0].index("valid_accuracy")]]
    assert accuracy[-1] > 0.5  # sentinels and ends are easy; the rest is guessed from what is left
    conditioner = Conditioner.load(outs["text_encoder"])
    assert isinstance(conditioner.network, T5EncoderModel)
    embeddings, mask = conditioner.encode(["a small plain red circle in the top left", "red"])
    assert embeddings.shape == (2, 20, 32)
    alone, _ = conditioner.encode(["red"])
    torch.testing.assert_close(embeddings[1], alone[0], atol=1e-5, rtol=0)
    assert mask.sum(1).tolist() == [11, 3]


def test_a_t5_checkpoint_is_used_as_it_is(tmp_path, t2i_base):
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = make_tokenizer()
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    )
    t5.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    room = small(tmp_path, t2i_base, shaped(text={"encoder": "t5", "init_from": str(tmp_path / "t5")}))
    outs = room.run("train_text_encoder")
    assert outs["text_encoder_curve"].read_text() == "step\n"
    conditioner = Conditioner.load(outs["text_encoder"])
    ids, mask = conditioner.tokens(["a red circle"])
    expected = t5.eval().encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(conditioner.encode(["a red circle"])[0], expected.detach(), atol=1e-6, rtol=0)


def test_nothing_trains_on_pictures_that_failed_their_checks(tmp_path, t2i_base):
    write_json(tmp_path / "checked.json", {"success": False})
    with pytest.raises(StageError, match="data checks failed"):
        small(tmp_path, t2i_base).run("train_autoencoder", checked=tmp_path / "checked.json")
