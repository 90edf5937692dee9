"""Losses and gradients beside TRL's own trainers: what they prepare, collate and compute of the same conversations."""

import copy

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset

from components.chat_assistant.networks.scorer import on_top_of
from components.chat_assistant.tasks.dpo import DirectPreference
from components.chat_assistant.tasks.reading import Pair
from components.chat_assistant.tasks.rewarding import Rewarding
from components.engines.language.causal import CausalLM
from components.engines.language.chat_tokens import TEMPLATE
from tests.engines.language.test_chat_tokens import TOKENS, WORDS, messages, small_llama

SAID = [
    messages("what is three plus four", "the cat", "and the dog", "red red"),
    messages("the red cat", "sees"),
    [{"role": "system", "content": "plus"}, *messages("what", "the dog sees the red cat")],
]
ANSWERS = [("the cat", "red", 1.0), ("three plus four", "the dog sees the cat", 0.25), ("dog", "a dog", 0.0)]
PAIRS = [
    Pair(TOKENS.prompt(said[:-1]), TOKENS.answer(good), TOKENS.answer(bad), margin)
    for said, (good, bad, margin) in zip(SAID, ANSWERS, strict=True)
]
ALL = np.arange(len(SAID))


def answer(content):
    return [{"role": "assistant", "content": content}]


def preferences():
    """The pairs as TRL reads them: it applies the template and finds where the answers begin by itself."""
    rows = [
        {"prompt": said[:-1], "chosen": answer(good), "rejected": answer(bad), "margin": margin}
        for said, (good, bad, margin) in zip(SAID, ANSWERS, strict=True)
    ]
    return Dataset.from_list(rows)


def trainer_of(kind, model, dataset, folder, **options):
    """One of TRL's trainers that has all samples in one batch, in their order, in fp32."""
    words = copy.deepcopy(WORDS)
    words.chat_template = TEMPLATE
    more = {"ref_model": options.pop("ref_model")} if "ref_model" in options else {}
    settings = getattr(trl, f"{kind}Config")(
        output_dir=str(folder),
        per_device_train_batch_size=len(dataset),
        train_sampling_strategy="sequential",
        report_to="none",
        use_cpu=True,
        bf16=False,
        pad_to_multiple_of=None,
        **options,
    )
    return getattr(trl, f"{kind}Trainer")(model, args=settings, train_dataset=dataset, processing_class=words, **more)


def batch_of(trainer):
    (batch,) = trainer.get_train_dataloader()
    return dict(batch)


def compared(task, trainer, batch):
    """Our sum is divided by its weight as the loop does it: by tokens or pairs. Returns our figures and TRL's, divided alike."""
    given = task.batch(ALL, 0)
    weight = task.turns[0].weight(given)
    loss, sums = task.loss(given)
    ours = loss / weight
    theirs = trainer.compute_loss(trainer.model, batch)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    ours.backward()
    theirs.backward()
    other = dict(trainer.model.named_parameters())
    for name, parameter in task.model.named_parameters():
        torch.testing.assert_close(parameter.grad, other[name].grad, atol=1e-5, rtol=1e-4, msg=name)
    figures = {name: value for name, (value,) in trainer._metrics["train"].items()}
    return {name: total.item() / weight for name, total in sums.items()}, figures


def test_the_fine_tuning_loss_is_that_of_trls_trainer(tmp_path):
    model, samples = small_llama(), [TOKENS.sample(said) for said in SAID]
    rows = [{"input_ids": one.ids, "assistant_masks": list(map(int, one.learnt))} for one in samples]
    trainer = trainer_of("SFT", copy.deepcopy(model), Dataset.from_list(rows), tmp_path)
    task, batch = CausalLM(model, samples, samples, pad_id=0), batch_of(trainer)
    assert batch["input_ids"].tolist() == task.batch(ALL, 0)["input_ids"].tolist()
    assert (batch["labels"] != -100).sum() == sum(sum(one.learnt) for one in samples)
    compared(task, trainer, batch)


def test_the_reward_loss_is_that_of_trls_trainer_with_a_margin_column(tmp_path):
    model = on_top_of(small_llama(), ["reward"])
    trainer = trainer_of("Reward", copy.deepcopy(model), preferences(), tmp_path)
    task, batch = Rewarding(model, PAIRS, PAIRS, pad_id=0, margin_scale=1.0), batch_of(trainer)
    assert batch["input_ids"].tolist() == task.batch(ALL, 0)["ids"].tolist()
    assert batch["margin"].tolist() == [margin for *_, margin in ANSWERS]
    ours, theirs = compared(task, trainer, batch)
    assert ours == pytest.approx({"accuracy": theirs["accuracy"], "gap": theirs["margin"]}, abs=1e-5)


def test_the_preference_loss_is_that_of_trls_trainer(tmp_path):
    model, reference = small_llama(seed=0), small_llama(seed=1)
    dataset, copies = preferences(), [copy.deepcopy(model), copy.deepcopy(reference)]
    trainer = trainer_of("DPO", copies[0], dataset, tmp_path, ref_model=copies[1], beta=0.3)
    task = DirectPreference(model, reference, PAIRS, PAIRS, pad_id=0, beta=0.3, label_smoothing=0.0, chosen_weight=0.0)
    batch, ours = batch_of(trainer), task.batch(ALL, 0)
    assert batch["input_ids"].tolist() == ours["ids"].tolist()
    assert batch["completion_mask"].tolist() == ours["answer"].tolist()
    figures, theirs = compared(task, trainer, batch)
    for name, theirs_name in (
        ("accuracy", "rewards/accuracies"),
        ("chosen_logp", "logps/chosen"),
        ("rejected_logp", "logps/rejected"),
    ):
        assert figures[name] == pytest.approx(theirs[theirs_name], abs=1e-4), name
    assert 0.3 * figures["chosen_change"] == pytest.approx(theirs["rewards/chosen"], abs=1e-4)
