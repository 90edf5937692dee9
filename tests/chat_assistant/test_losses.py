"""The losses by hand, and by the formulas that TRL 1.16 has them by (test_trl.py asks TRL itself)."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from components.chat_assistant.tasks.advantages import clipped, clipped_values, gae, k3, token_rewards, whitened
from components.chat_assistant.tasks.dpo import DirectPreference
from components.chat_assistant.tasks.preferred import collate, dpo_loss, margin_loss
from components.chat_assistant.tasks.reading import Pair
from components.chat_assistant.tasks.rewarding import Rewarding
from tests.engines.language.test_chat_tokens import small_llama

PAIRS = [Pair([1, 5, 6], [7, 8, 2], [9, 2], 1.0), Pair([1, 5], [7, 2], [9, 9, 9, 2], 2.0)]


def test_the_margin_loss():
    found = margin_loss(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.5]))
    by_hand = [math.log(1 + math.exp(-1.0)), math.log(1 + math.exp(1.5))]
    assert found.tolist() == pytest.approx(by_hand, rel=1e-6)


def test_the_reward_task_is_trls_with_a_margin_column():
    from components.chat_assistant.networks.scorer import on_top_of

    model = on_top_of(small_llama(), ["reward"])
    task = Rewarding(model, PAIRS, PAIRS, pad_id=0, margin_scale=1.0)
    loss, sums = task.loss(task.batch(np.array([0, 1]), 0))
    scores = [
        [model(input_ids=torch.tensor([one.prompt + side])).logits[0, 0] for side in (one.chosen, one.rejected)]
        for one in PAIRS
    ]
    theirs = sum(-logsigmoid(good - bad - one.margin) for (good, bad), one in zip(scores, PAIRS, strict=True))
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert sums["accuracy"] == sum(good > bad for good, bad in scores)


def test_the_dpo_task_is_trls_sigmoid_loss_with_label_smoothing():
    model, reference = small_llama(seed=0).eval(), small_llama(seed=1).eval()
    beta, smoothing = 0.3, 0.1
    task = DirectPreference(
        model, reference, PAIRS, PAIRS, pad_id=0, beta=beta, label_smoothing=smoothing, chosen_weight=0.0
    )
    loss, sums = task.loss(task.batch(np.array([0, 1]), 0))

    def logp(network, prompt, answer):
        logits = network(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()

    theirs, chosen = 0.0, 0.0
    for one in PAIRS:
        ratios = [
            logp(model, one.prompt, side) - logp(reference, one.prompt, side) for side in (one.chosen, one.rejected)
        ]
        logits = ratios[0] - ratios[1]
        theirs += -logsigmoid(beta * logits) * (1 - smoothing) - logsigmoid(-beta * logits) * smoothing
        chosen += logp(model, one.prompt, one.chosen)
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert sums["chosen_logp"].item() == pytest.approx(chosen.item(), abs=1e-4)
    weighted = DirectPreference(
        model, reference, PAIRS, PAIRS, pad_id=0, beta=beta, label_smoothing=smoothing, chosen_weight=0.5
    )
    more = weighted.loss(weighted.batch(np.array([0, 1]), 0))[0] - loss
    assert more.item() == pytest.approx(
        sum(-0.5 * logp(model, one.prompt, one.chosen).item() / len(one.chosen) for one in PAIRS), abs=1e-4
    )


def test_dpo_of_a_policy_that_is_its_reference_is_log_two():
    loss, gap = dpo_loss(torch.tensor([-3.0, -4.0]), torch.tensor([-3.0, -4.0]), 0.1)
    assert loss.item() == pytest.approx(math.log(2))
    assert gap.item() == 0


def test_pairs_are_padded_and_only_answers_are_marked():
    batch = collate(PAIRS, 0)
    assert batch["ids"].tolist()[0] == [1, 5, 6, 7, 8, 2]
    assert batch["ids"].tolist()[3] == [1, 5, 9, 9, 9, 2]
    assert batch["answer"].tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1]]
    assert (batch["mask"] == (batch["ids"] != 0).long()).all()


# ------------------------------------------------------------------------------------------------------------- PPO


def test_k3_is_never_negative_and_is_the_kl_in_the_mean():
    policy, reference = torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.2, 0.2, 0.6]).log()
    estimates = k3(policy, reference)
    assert (estimates >= 0).all()
    true = (policy.exp() * (policy - reference)).sum()
    assert (policy.exp() * estimates).sum().item() == pytest.approx(true.item(), rel=1e-6)
    assert k3(policy, policy).abs().max() == 0


def test_rewards_stand_at_each_token_for_the_kl_and_at_the_last_for_the_answer():
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    policy, reference = torch.full((2, 4), -1.0), torch.full((2, 4), -1.5)
    found = token_rewards(torch.tensor([2.0, -1.0]), policy, reference, mask, 0.1)
    torch.testing.assert_close(found, torch.tensor([[-0.05, -0.05, 1.95, 0.0], [-1.05, 0.0, 0.0, 0.0]]))


def test_advantages_by_hand():
    """γ = .9, λ = .8 on rewards 1, 0, 2 with values .5, .4, .3; a shorter answer ends where its mask does."""
    rewards = torch.tensor([[1.0, 0.0, 2.0], [1.0, 7.0, 7.0]])
    values = torch.tensor([[0.5, 0.4, 0.3], [0.5, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    advantages, returns = gae(rewards, values, mask, 0.9, 0.8)
    third = 2 - 0.3
    second = 0 + 0.9 * 0.3 - 0.4 + 0.72 * third
    first = 1 + 0.9 * 0.4 - 0.5 + 0.72 * second
    assert advantages[0].tolist() == pytest.approx([first, second, third], rel=1e-6)
    assert advantages[1].tolist() == pytest.approx([0.5, 0, 0])
    assert returns[0].tolist() == pytest.approx([first + 0.5, second + 0.4, third + 0.3], rel=1e-6)
    assert returns[1, 0].item() == pytest.approx(1.0)


def test_with_lambda_one_the_return_is_the_discounted_sum_whatever_the_values():
    torch.manual_seed(0)
    rewards, values, mask = torch.randn(3, 5), torch.randn(3, 5), torch.ones(3, 5)
    _, returns = gae(rewards, values, mask, 0.9, 1.0)
    sums = torch.stack([sum(0.9**k * rewards[:, t + k] for k in range(5 - t)) for t in range(5)], 1)
    torch.testing.assert_close(returns, sums)


def test_whitening_is_over_the_mask():
    values, mask = torch.tensor([[1.0, 3.0, 100.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    torch.testing.assert_close(whitened(values, mask), torch.tensor([[-1.0, 1.0, 0.0]]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "bound"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),
        (1.5, -2.0, 3.0, False),
        (0.5, 2.0, -1.0, False),
        (0.5, -2.0, 1.6, True),
    ],
)
def test_the_clipped_objective_by_hand(ratio, advantage, loss, bound):
    found, decided = clipped(torch.tensor([math.log(ratio)]), torch.zeros(1), torch.tensor([advantage]), 0.2)
    assert found.item() == pytest.approx(loss, rel=1e-6)
    assert decided.item() is bound


def test_values_are_clipped_to_the_worse_of_two_errors():
    found = clipped_values(torch.tensor([2.0, 0.1]), torch.zeros(2), torch.tensor([2.0, 1.0]), 0.5)
    assert found.tolist() == pytest.approx([0.5 * 1.5**2, 0.5 * 0.9**2])
