"""The encoders: where texts are pooled, what transformers loads, what the loss is, with one process and with two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.clip.train import Train, start
from components.engines.base.errors import UsageError
from components.engines.captioned.dataset import CaptionedImages
from components.engines.nn.checkpoints import load_tokenizer
from components.engines.scoring.embedder import Embedder, load_clip, load_clip_processor
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.loop import fit
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training
from tests.clip.small import DATA, SMALL, TRAINING, make_task, small

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
TWO = TRAINING.model_copy(update={"max_steps": 3, "score_every": 3, "log_every": 1})


@pytest.fixture(scope="module")
def embedder(small_data):
    found = start(SMALL, small_data / "tokenizer", seed=0)
    found.network.eval()
    return found


def test_a_text_is_read_off_its_end_token_wherever_that_stands(embedder):
    """The trap: with eos_token_id 2 transformers pools at the highest token number, somewhere in the middle of a text."""
    assert embedder.tokenizer.eos_token_id != 2
    assert embedder.network.config.text_config.eos_token_id == embedder.tokenizer.eos_token_id
    texts = ["a red circle", "a small plain red circle in the top left corner of all"]
    tokens = embedder.tokens(texts)
    text_model = embedder.network.text_model
    states = text_model(**tokens).last_hidden_state
    last = tokens["attention_mask"].sum(1) - 1
    assert (tokens["input_ids"][[0, 1], last] == embedder.tokenizer.eos_token_id).all()
    pooled = embedder.network.text_projection(states[[0, 1], last])
    expected = torch.nn.functional.normalize(pooled, dim=-1)
    assert torch.allclose(embedder.text_vectors(tokens), expected, atol=1e-6)


def test_an_encoder_that_would_pool_elsewhere_is_refused(embedder, small_data, tmp_path):
    embedder.save(tmp_path / "trapped")
    config = json.loads((tmp_path / "trapped/config.json").read_text())
    for wrong in (2, 7):
        config["text_config"]["eos_token_id"] = wrong
        (tmp_path / "trapped/config.json").write_text(json.dumps(config))
        with pytest.raises(UsageError, match=f"pools at token {wrong}, but texts end in token 3"):
            Embedder.load(tmp_path / "trapped", 32)


def test_openais_checkpoints_pool_rightly_by_the_legacy_way(tmp_path, embedder):
    """Their config says 2 and their end token has the highest number, where the legacy pooling looks."""
    from transformers import CLIPModel, PreTrainedTokenizerFast

    class Words(PreTrainedTokenizerFast):
        pass

    text = Words(tokenizer_object=embedder.tokenizer.backend_tokenizer, pad_token="<pad>", eos_token="<last>")
    assert text.eos_token_id == len(text) - 1
    config = embedder.network.config.to_dict()
    config["text_config"] |= {"eos_token_id": 2, "vocab_size": len(text)}
    CLIPModel(type(embedder.network.config).from_dict(config)).save_pretrained(tmp_path)
    load_clip(tmp_path, text)


def test_a_text_that_is_too_long_is_cut_and_keeps_its_end(embedder):
    tokens = embedder.tokens(["circle " * 500, "", "🎨 كلمة"])
    assert tokens["input_ids"].shape[1] == SMALL.max_tokens
    ends = (tokens["input_ids"] == embedder.tokenizer.eos_token_id).sum(1)
    assert ends.tolist() == [1, 1, 1]


def test_what_is_saved_loads_in_plain_transformers(embedder, small_data, tmp_path):
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    embedder.save(tmp_path)
    pairs = CaptionedImages(small_data / "cleaned", "test")[:3]
    pictures, captions = [pair.open() for pair in pairs], [pair.caption for pair in pairs]
    text = AutoTokenizer.from_pretrained(tmp_path)(captions, padding=True, return_tensors="pt")
    image = CLIPImageProcessorPil.from_pretrained(tmp_path)(images=pictures, return_tensors="pt")
    with torch.no_grad():
        theirs = CLIPModel.from_pretrained(tmp_path)(
            input_ids=text["input_ids"], attention_mask=text["attention_mask"], pixel_values=image["pixel_values"]
        )
    assert torch.allclose(embedder.embed_images(pictures), theirs.image_embeds, atol=1e-6)
    assert torch.allclose(embedder.embed_texts(captions), theirs.text_embeds, atol=1e-6)


def test_the_loss_is_transformers_own_times_the_batch(small_room):
    task = make_task(small_room.root)
    task.model.eval()
    batch = task.batch(np.arange(8), epoch=0)
    expected = task.model(**batch, return_loss=True).loss
    assert task.loss(batch)[0].item() == pytest.approx(8 * expected.item(), rel=1e-5)


def test_the_temperature_is_bounded(small_room):
    task = make_task(small_room.root)
    task.model.eval()
    batch = task.batch(np.arange(8), epoch=0)
    losses = []
    for value in (np.log(100), 50.0):
        task.model.logit_scale.data.fill_(value)
        losses.append(task.loss(batch)[0].item())
    assert losses[0] == pytest.approx(losses[1])


def test_two_processes_train_what_one_trains(small_room, tmp_path):
    """Captions on the other process compete too: half a batch of negatives would be another loss."""
    script = str(ROOT / "tests/engines/training/toy_run.py")
    arguments = [json.dumps({"folder": str(small_room.root)}), TWO.model_dump_json(), str(tmp_path / "two")]
    done = subprocess.run(
        [*TORCHRUN, script, "tests.clip.small", *arguments],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one = fit(lambda: make_task(small_room.root), TWO, work=tmp_path / "one", ranks=Ranks.single(torch.device("cpu")))
    two = finished_fit(tmp_path / "two", TWO)
    assert [row["model_loss"] for row in two.curve] == pytest.approx([row["model_loss"] for row in one.curve], rel=1e-5)
    ours, theirs = (load_file(done.weights / "model.safetensors") for done in (one, two))
    # the loss does not depend on a key's bias: its gradient is rounding noise, which Adam makes a full step of
    assert all(torch.allclose(ours[n], theirs[n], atol=2e-4) for n in ours if not n.endswith("k_proj.bias"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accumulation_steps": 2}, "could not compete"),
        ({"layout": {"tensor": 2}}, "see the same pairs"),
        ({"layout": {"sharded": 2}}, "zero_stage 1"),
    ],
)
def test_what_would_change_or_break_the_contrast_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Train(training=Training(**{**TRAINING.model_dump(exclude_unset=True), **changes}))
    Train(training=Training(**{**TRAINING.model_dump(exclude_unset=True), "layout": {"sharded": 2, "zero_stage": 1}}))


def test_a_checkpoint_saved_by_transformers_goes_through_the_stages(small_room, tmp_path):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    text = load_tokenizer(small_room.data / "tokenizer")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {"vocab_size": len(text), "eos_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 40}
    config = CLIPConfig(
        text_config={**shape, **words}, vision_config={**shape, "image_size": 24, "patch_size": 12}, projection_dim=6
    )
    CLIPModel(config).save_pretrained(tmp_path / "checkpoint")
    text.save_pretrained(tmp_path / "checkpoint")
    size = {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}
    CLIPImageProcessorPil(**size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(tmp_path / "checkpoint")

    architecture = SMALL.model_copy(update={"init_from": str(tmp_path / "checkpoint")})
    room = small(tmp_path, architecture=architecture).run_all(*DATA, "train")
    assert room.evaluate()["test_pairs"] == 40
    before, after = (CLIPModel.from_pretrained(tmp_path / name) for name in ("checkpoint", "data/clip/model"))
    assert after.config.vision_config.image_size == 24
    moved = [not a.equal(b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert any(moved)
    assert load_clip_processor(room.data / "model").image_mean == (0.5, 0.5, 0.5)

    nowhere = SMALL.model_copy(update={"init_from": str(tmp_path / "nothing")})
    with pytest.raises(UsageError, match=r"Cannot load a tokenizer.*nothing"):
        small(tmp_path / "again", small_room, architecture=nowhere).run("tokenizer")
