"""The causal language model's task: what is learnt, what is masked, what is counted."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe
from components.engines.language.causal import CausalLM, Encoded, Tokens, prompted
from components.engines.language.tokens import IGNORED, num_labels
from components.engines.scoring.likelihood import unigram_nlls

TEXTS = ["the cat sleeps", "the dog barks at the cat", "a bird sings"] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(iter(TEXTS), Vocabulary(vocab_size=300), SPECIAL, single="<s> $A")


def task_of(samples, **options):
    torch.manual_seed(0)
    network = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=32)).eval()
    return CausalLM(network, samples, samples, pad_id=0, **options)


def test_only_the_answer_and_its_end_are_learnt(tokenizer):
    one = prompted(tokenizer, "the cat", "sleeps", 32)
    batch = task_of([one]).collate([one, prompted(tokenizer, "", "the dog barks at the cat", 32)])
    labels = batch["labels"][0]
    assert tokenizer.decode(labels[labels != IGNORED]) == "sleeps</s>"
    assert tokenizer.decode(one.ids) == "<s> the cat sleeps</s>"
    whole = batch["labels"][1]
    assert (whole != IGNORED).sum() == batch["attention_mask"][1].sum() - 1
    assert task_of([one]).count_tokens(batch) == int(batch["attention_mask"].sum()) > num_labels(batch)


def test_padding_and_prompts_change_no_loss_and_the_perplexity_is_that_of_the_likelihoods(tokenizer):
    samples = Encoded(TEXTS[:3], lambda text: prompted(tokenizer, "", text, 32))
    task = task_of(samples)
    nlls = task.nlls(samples)
    alone = [task.nlls([one])[0] for one in samples]
    assert [len(one) for one in nlls] == [len(one.ids) - 1 for one in samples]
    for together, single in zip(nlls, alone, strict=True):
        assert together == pytest.approx(single, rel=1e-4)
    every = [value for one in nlls for value in one]
    assert task.score()["valid_perplexity"] == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-4)
    fixed = task_of(samples, length=32)
    assert fixed.collate([samples[0]])["input_ids"].shape == (1, 32)
    assert fixed.score()["valid_loss"] == pytest.approx(task.score()["valid_loss"], rel=1e-4)


def test_samples_that_end_together_have_the_same_losses_and_fewer_logits(tokenizer):
    samples = Encoded(TEXTS[:3], lambda text: prompted(tokenizer, text, text[-6:], 32))
    plain, tail = task_of(samples), task_of(samples, answers=True)
    batch = tail.collate(list(samples))
    assert batch["attention_mask"][:, -1].tolist() == [1, 1, 1]
    found, sums = tail.loss(batch)
    wanted, right = plain.loss(plain.collate(list(samples)))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert sums["accuracy"] == right["accuracy"]
    assert tail.score() == pytest.approx(plain.score(), rel=1e-5)
    for one, other in zip(tail.nlls(samples), plain.nlls(samples), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert tail.predicted(batch)[0].shape[1] < batch["input_ids"].shape[1] / 2


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("parts", [2, 3, 9])
def test_a_batch_in_parts_has_the_same_loss_and_gradients(tokenizer, answers, parts):
    texts = [TEXTS[1] * 2, *TEXTS[:3], TEXTS[0] * 2]
    samples = Encoded(texts, lambda text: prompted(tokenizer, text, text[-6:], 32))
    found = []
    for count in (1, parts):
        task = task_of(samples, answers=answers, parts=count)
        seen = []
        task.model.register_forward_pre_hook(
            lambda _, given, named, seen=seen: seen.append(named["input_ids"].numel()), with_kwargs=True
        )
        loss, sums = task.turns[0].loss(task.collate(list(samples)))
        loss.backward()
        gradients = [parameter.grad for parameter in task.model.parameters()]
        found.append((loss, sums["accuracy"], gradients, sum(seen), len(seen)))
    (loss, right, gradients, tokens, passes), (other, also, others, fewer, more) = found
    assert (passes, more) == (1, min(parts, len(texts)))
    assert fewer < tokens
    torch.testing.assert_close((other, also, others), (loss, right, gradients), rtol=1e-4, atol=1e-5)


def test_what_is_cut_off_is_not_learnt(tokenizer):
    cut = prompted(tokenizer, "the cat", "sleeps", 3)
    assert cut == Tokens(cut.ids, [False] * 3)


def test_unigram_likelihood_is_that_of_frequencies():
    assert unigram_nlls([[1, 1, 2]], [[1, 2, 0]], 3) == [[math.log(6 / 3), math.log(6 / 2), math.log(6 / 1)]]
