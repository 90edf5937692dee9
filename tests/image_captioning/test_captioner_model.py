"""The captioners: where captions start and end, what transformers loads, how positions travel, what the loss counts."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
)  # fmt: skip

from components.engines.base.errors import UsageError
from components.engines.captioned.captioning import Captioning
from components.engines.captioned.dataset import CaptionedImages
from components.engines.generation.captioner import ImageCaptioner
from components.engines.generation.decoding import Decoding
from components.engines.language.tokens import IGNORED, num_labels
from components.engines.nn.positions import bake_positions, fixed_table
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.image_captioning.architecture import Architecture
from components.image_captioning.train import captioning, start
from tests.image_captioning.small import DECODING, SMALL, TRAINING, small, with_clip

BLIP = SMALL.model_copy(update={"family": "blip"})
FAMILIES = [SMALL, BLIP]
POSITIONS = ["1d-learned", "1d-fixed", "2d-learned", "2d-fixed"]
CPU = torch.device("cpu")
GREEDY = Decoding(max_new_tokens=8)


def started(architecture, folder, seed=0):
    captioner = start(architecture, folder / "tokenizer", seed)
    captioner.network.eval()
    return captioner


def pictures(folder, count=5):
    return [one.open() for one in CaptionedImages(folder / "cleaned", "test")[:count]]


def position_table(network):
    return getattr(network, "position_embedding", None) if hasattr(network, "encode") else (
        network.vision_model.embeddings.position_embedding
    )  # fmt: skip


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(strategy="beam", num_beams=3, max_new_tokens=8)])
def test_blip_says_what_transformers_own_generate_says(small_data, decoding):
    captioner = started(BLIP, small_data)
    shown = pictures(small_data)
    ours = [one.tokens for one in captioner.caption(shown, decoding)]
    settings = {"max_new_tokens": 8, "num_beams": decoding.beams, "do_sample": False}
    theirs = captioner.network.generate(captioner.pixels(shown), **settings)
    said = captioner.network.config.text_config
    for own, other in zip(ours, theirs.tolist(), strict=True):
        assert other[0] == said.bos_token_id
        assert own == [token for token in other[1:] if token not in {said.sep_token_id, said.pad_token_id}]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_score_is_the_mean_log_probability_of_tokens_and_end(small_data, architecture):
    captioner = started(architecture, small_data)
    shown = pictures(small_data, 3)
    for picture, said in zip(shown, captioner.caption(shown, DECODING), strict=True):
        tokens = [captioner.start, *said.tokens, *([captioner.end] if said.finished else [])]
        with torch.no_grad():
            ids = torch.tensor([tokens])
            logits = captioner.network(pixel_values=captioner.pixels([picture]), input_ids=ids).logits[0]
        chosen = logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])
        assert said.score == pytest.approx(float(chosen.mean()), abs=1e-4)


def test_captions_do_not_depend_on_their_batch_and_samples_have_their_own_seeds(small_data):
    captioner = started(SMALL, small_data)
    shown = pictures(small_data, 6)
    together, alone = (captioner.caption(shown, DECODING, batch_size=size) for size in (6, 1))
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    sampling = Decoding(strategy="sample", num_return_sequences=2, max_new_tokens=6)
    drawn, again, others = (
        captioner.caption(shown, sampling, batch_size=n, seed=s) for n, s in ((6, 0), (2, 0), (6, 1))
    )
    assert len(drawn) == 12
    assert [one.tokens for one in drawn] == [one.tokens for one in again] != [one.tokens for one in others]
    assert drawn[0].tokens != drawn[1].tokens
    assert captioner.caption([], DECODING) == []


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("architecture", FAMILIES)
def test_positions_of_every_kind_are_a_plain_table_once_saved(small_data, tmp_path, architecture, positions):
    captioner = started(architecture.model_copy(update={"positions": positions}), small_data)
    network, pixels = captioner.network, captioner.pixels(pictures(small_data))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert any("position_embedding" in name and "text" not in name for name in trained) == positions.endswith("learned")
    ids = torch.tensor([[1, 5, 6]] * len(pixels))
    before = network(pixel_values=pixels, input_ids=ids).logits
    bake_positions(network)
    captioner.save(tmp_path)
    again = ImageCaptioner.load(tmp_path)
    assert torch.equal(again.network(pixel_values=pixels, input_ids=ids).logits, before)
    if architecture is BLIP:
        plain = BlipForConditionalGeneration.from_pretrained(tmp_path)
        assert torch.equal(plain(pixel_values=pixels, input_ids=ids).logits, before)
        assert AutoTokenizer.from_pretrained(tmp_path)("a")["input_ids"][-1] == plain.config.text_config.sep_token_id
    if positions.endswith("fixed"):
        side = architecture.side
        table = fixed_table(side, side, architecture.encoder_width, per_axis=positions.startswith("2d"))
        assert torch.equal(position_table(again.network)[0, -(side**2) :], table)


@pytest.mark.parametrize(("family", "positions"), [("cnn", "2d-learned"), ("blip", "2d-fixed")])
def test_training_moves_learnt_positions_and_leaves_fixed_ones(small_room, tmp_path, family, positions):
    architecture = SMALL.model_copy(update={"family": family, "positions": positions})
    model = small(tmp_path, small_room, architecture=architecture).run("train")["model"]
    before = bake_positions(started(architecture, small_room.data).network)
    after = ImageCaptioner.load(model).network
    assert torch.equal(position_table(before), position_table(after)) == (positions == "2d-fixed")
    cells = position_table(after)[0, -16:].detach().unflatten(0, (4, 4))
    assert torch.allclose(
        cells[0, 0] + cells[1, 1], cells[0, 1] + cells[1, 0], atol=1e-6
    )  # a row's part and a column's


def test_labels_are_the_next_tokens_up_to_the_end_and_nothing_of_the_padding(small_data):
    captioner = started(BLIP, small_data)
    train = CaptionedImages(small_data / "cleaned", "train")
    task = Captioning(captioner, train, train, max_tokens=32)
    batch = task.batch(np.arange(8), 0)
    lengths = batch["attention_mask"].sum(1)
    assert lengths.min() < lengths.max() == batch["input_ids"].shape[1]
    for ids, labels, length in zip(batch["input_ids"], batch["labels"], lengths.tolist(), strict=True):
        assert ids[0] == captioner.start
        assert labels[: length - 1].tolist() == ids[1:length].tolist()
        assert labels[length - 2] == captioner.end
        assert set(labels[length - 1 :].tolist()) <= {IGNORED}
    assert task.count_tokens(batch) == num_labels(batch) == int((lengths - 1).sum())
    total, _ = task.loss(batch)
    theirs = captioner.network(  # transformers shifts labels itself, and gives a mean
        pixel_values=batch["pixel_values"],
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        labels=batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED),
    ).loss
    assert total.item() / num_labels(batch) == pytest.approx(theirs.item(), rel=1e-5)


def test_what_is_too_long_is_cut_before_its_end(small_data):
    captioner = started(SMALL, small_data)
    tokens = captioner.tokens(["a red circle", "a " * 90], 12)
    assert tokens["input_ids"].shape == (2, 12)
    assert tokens["input_ids"][1, -1] == captioner.end


def test_no_word_of_the_future_reaches_a_prediction(small_data):
    for architecture in FAMILIES:
        captioner = started(architecture, small_data)
        pixels, ids = captioner.pixels(pictures(small_data, 1)), torch.tensor([[1, 7, 8, 9, 10]])
        other = ids.clone()
        other[0, 3:] = 20
        logits = [captioner.network(pixel_values=pixels, input_ids=one).logits[0] for one in (ids, other)]
        assert torch.allclose(logits[0][:3], logits[1][:3], atol=1e-5)
        assert not torch.allclose(logits[0][3:], logits[1][3:], atol=1e-5)


def a_checkpoint(folder, tokens=()):
    """A small BLIP as Salesforce's are: BERT's words, [DEC] as a start that the tokenizer does not know, [SEP] at the end."""
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"a the red green blue circle square in of top left".split(),
    ]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    words = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 18, "bos_token_id": 16, "sep_token_id": 3, "eos_token_id": 2, "max_position_embeddings": 24}
    config = BlipConfig(
        text_config={**shape, **text, **dict(tokens)}, vision_config={**shape, "image_size": 24, "patch_size": 12}
    )
    network = BlipForConditionalGeneration(config)
    network.save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 24, "width": 24}, image_mean=[0.5] * 3), words).save_pretrained(
        folder
    )
    return folder


def test_a_checkpoint_saved_by_transformers_goes_through_the_stages(small_room, tmp_path):
    checkpoint = a_checkpoint(tmp_path / "checkpoint")
    room = small(tmp_path, small_room, architecture=Architecture(init_from=str(checkpoint), max_tokens=16))
    with_clip(room).run_all("tokenizer", "train")
    figures = room.evaluate()
    assert figures["test_images"] == 40
    assert figures["perplexity"] > 1
    before, after = (BlipForConditionalGeneration.from_pretrained(one) for one in (checkpoint, room.data / "model"))
    assert after.config.vision_config.image_size == 24
    assert any(not a.equal(b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    processor = AutoProcessor.from_pretrained(checkpoint)
    shown = pictures(small_room.data, 3)
    captioner = ImageCaptioner.load(room.data / "model")
    assert torch.allclose(
        captioner.pixels(shown), processor(images=shown, return_tensors="pt")["pixel_values"], atol=1e-6
    )
    assert captioner.tokens(["a red circle"], 16)["input_ids"].tolist() == [[16, 5, 7, 10, 3]]
    theirs = after.generate(captioner.pixels(shown), max_new_tokens=6, do_sample=False)
    said = [processor.decode(row, skip_special_tokens=True) for row in theirs]
    assert [one.text for one in captioner.caption(shown, Decoding(max_new_tokens=6))] == said


def test_a_checkpoint_can_be_used_as_it_is_and_none_cannot(small_room, tmp_path):
    checkpoint = a_checkpoint(tmp_path / "checkpoint")
    model = small(tmp_path, small_room, architecture={"init_from": str(checkpoint)}).run("train", enabled=False)[
        "model"
    ]
    before, after = (ImageCaptioner.load(one).network.state_dict() for one in (checkpoint, model))
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(UsageError, match="Nothing to use"):
        small(tmp_path / "again", small_room).run("train", enabled=False)


def test_what_is_no_captioner_is_refused(small_data, tmp_path):
    with pytest.raises(UsageError, match="Cannot load a captioner"):
        ImageCaptioner.load(tmp_path / "nothing")
    never_ending = a_checkpoint(tmp_path / "never_ending", {"sep_token_id": 4}.items())
    with pytest.raises(UsageError, match=r"Captions end in token 4, but the tokenizer's texts are \[2, 5, 3\]"):
        ImageCaptioner.load(never_ending)
    other = a_checkpoint(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(UsageError, match=r"a BertConfig.*BlipForConditionalGeneration or a GridCaptioner"):
        ImageCaptioner.load(other)
    halved = a_checkpoint(tmp_path / "halved")
    config["text_config"]["num_hidden_layers"] = 2
    (halved / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"lacks \d+ of its weights"):
        ImageCaptioner.load(halved)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_px": 5}, "not divisible by patch_px"),
        ({"patch_px": 2}, "4, 8, 16, 32 for a CNN"),
        ({"attention_heads": 5}, "not divisible by attention_heads"),
        ({"positions": "3d"}, "1d-learned"),
    ],
)
def test_shapes_that_cannot_be_built_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Architecture(**changes)
    Architecture(family="blip", patch_px=2)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_captioner_learns_what_is_in_its_images(small_data, tmp_path, architecture):
    wide = architecture.model_copy(update={"encoder_width": 32, "text_width": 32})
    captioner = start(wide, small_data / "tokenizer", seed=0)
    few = CaptionedImages(small_data / "cleaned", "train")[:12]
    training = TRAINING.model_copy(
        update={"max_steps": 110, "batch_size": 12, "learning_rate": 1e-2, "score_every": 110}
    )
    work = tmp_path / "work"
    fitted = fit(lambda: Captioning(captioner, few, few, max_tokens=32), training, work=work, ranks=Ranks.single(CPU))
    assert fitted.scores["valid_perplexity"] < 1.2
    said = captioner.caption([one.open() for one in few], Decoding(strategy="beam", num_beams=2, max_new_tokens=32))
    assert sum(one.text == wanted.caption for one, wanted in zip(said, few, strict=True)) >= 10
    others = captioner.caption([one.open() for one in few[1:] + few[:1]], Decoding(max_new_tokens=32))
    assert sum(one.text == wanted.caption for one, wanted in zip(others, few, strict=True)) <= 2


@pytest.mark.parametrize("architecture", FAMILIES)
def test_recomputed_activations_change_nothing(small_data, tmp_path, architecture):
    few = CaptionedImages(small_data / "cleaned", "train")[:16]
    weights = []
    for how in ("off", "full"):
        captioner = start(architecture.model_copy(update={"text_layers": 2}), small_data / "tokenizer", seed=0)
        training = TRAINING.model_copy(update={"gradient_checkpointing": how})
        fit(
            lambda captioner=captioner: Captioning(captioner, few, few, max_tokens=32),
            training,
            work=tmp_path / how,
            ranks=Ranks.single(CPU),
        )
        weights.append(captioner.network.state_dict())
    for name, weight in weights[0].items():  # without gradients torch may choose another kernel, which rounds otherwise
        torch.testing.assert_close(weights[1][name], weight, atol=1e-6, rtol=1e-5)


def test_the_task_is_built_from_plain_arguments(small_room):
    task = small_room.task(captioning, "train")
    assert task.num_samples == len(CaptionedImages(small_room.data / "cleaned", "train"))
    scores = task.score()
    assert scores["valid_loss"] == pytest.approx(np.log(scores["valid_perplexity"]))
