"""The arithmetic of PPO, on tensors [batch, tokens] with a mask of the answer's tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def k3(policy: Tensor, reference: Tensor) -> Tensor:
    """An estimate of the KL of the policy from the reference at tokens that the policy drew: r − 1 − log r with r = reference ÷
    policy (Schulman 2020, "Approximating KL divergence"). Unbiased, and never negative."""
    log_ratio = reference - policy
    return log_ratio.exp() - 1 - log_ratio


def token_rewards(
    score: Tensor, policy: Tensor, reference: Tensor, mask: Tensor, coefficient: Tensor | float
) -> Tensor:
    """−coefficient · (log π − log π_ref) at each token, and the answer's score [batch] besides at its last one
    (arXiv:1909.08593, eq. 2)."""
    rewards = -coefficient * (policy - reference) * mask
    last = mask.long().cumsum(1).argmax(1)
    return rewards.scatter_add(1, last.unsqueeze(1), score.unsqueeze(1).to(rewards))


def gae(rewards: Tensor, values: Tensor, mask: Tensor, discount: float, decay: float) -> tuple[Tensor, Tensor]:
    """(advantages, returns) by generalised advantage estimation (arXiv:1506.02438, eq. 16); an answer's end is worth nothing
    more."""
    values = values * mask
    advantages, following = torch.zeros_like(values), torch.zeros_like(values[:, 0])
    for place in reversed(range(values.shape[1])):
        after = values[:, place + 1] if place + 1 < values.shape[1] else torch.zeros_like(following)
        surprise = rewards[:, place] + discount * after - values[:, place]
        following = (surprise + discount * decay * following) * mask[:, place]
        advantages[:, place] = following
    return advantages, advantages + values


def whitened(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the mask, 0 elsewhere."""
    count = mask.sum().clamp(min=1)
    centred = (values - (values * mask).sum() / count) * mask
    return centred / ((centred**2).sum() / count + 1e-8).sqrt()


def clipped(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """(loss, whether clipping decided) at each token: −min(r · A, clip(r, 1 ± ε) · A) (arXiv:1707.06347, eq. 7)."""
    ratio = (new - old).exp()
    free, bound = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(free, bound), bound < free


def clipped_values(new: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error at each token, of the value or of the value held within `clip` of the old one, whichever is
    worse."""
    near = old + (new - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((new - returns) ** 2, (near - returns) ** 2)
