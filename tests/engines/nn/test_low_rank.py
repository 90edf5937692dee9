"""Adapters: a network begins as it was, its matrices stay, what is merged is the same network."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from components.engines.nn.lora import Lora
from components.engines.nn.low_rank import adapt, merge
from tests.engines.language.test_chat_tokens import small_llama

IDS = torch.tensor([[1, 5, 9, 6]])


def small_gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=16))


@pytest.mark.parametrize("make", [small_llama, small_gpt2])
def test_only_the_difference_is_learnt_and_merging_changes_nothing(make):
    network = make().eval()
    before, weights = network(input_ids=IDS).logits, {n: p.clone() for n, p in network.named_parameters()}
    adapt(network, Lora(rank=2))
    torch.testing.assert_close(network(input_ids=IDS).logits, before)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert 0 < sum(one.numel() for one in trained) < 0.5 * sum(one.numel() for one in weights.values())
    optimizer = torch.optim.SGD(trained, lr=0.5)
    for _ in range(3):
        network(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    moved = network(input_ids=IDS).logits
    assert not torch.allclose(moved, before)
    merge(network)
    torch.testing.assert_close(network(input_ids=IDS).logits, moved)
    assert {name for name, _ in network.named_parameters()} == weights.keys()
    embedding = network.get_input_embeddings().weight
    assert torch.equal(embedding, dict(weights.items())[next(n for n in weights if "embed" in n or "wte" in n)])


def test_without_params_nothing_happens():
    network = small_llama()
    assert adapt(network, None) is network
    assert all(parameter.requires_grad for parameter in network.parameters())
