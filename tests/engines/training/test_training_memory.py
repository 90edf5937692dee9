"""Gradient checkpointing: the same numbers from fewer kept activations, under the same names."""

import copy

import numpy as np
import pytest
import torch
import toy_language_model
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy
from toy_fits import fit_here, outcome, training

from components.engines.base.errors import UsageError
from components.engines.training.memory import _policy, blocks_of, recompute_blocks
from components.engines.training.task import Task

LM, GAN = "toy_language_model", "toy_gan"
HOW = ["selective", "full"]


def task_of(**modules: nn.Module) -> Task:
    class Whatever(Task):
        def batch(self, indices, epoch):
            return {}

        def score(self):
            return {}

    task = Whatever()
    task.modules = modules
    return task


def language_model(how: str, **arguments) -> Task:
    torch.manual_seed(0)
    task = toy_language_model.make_task(**arguments)
    recompute_blocks(task, training(gradient_checkpointing=how))
    return task


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_recomputing_changes_no_bit_whatever_is_recomputed(precision, tmp_path):
    """Dropout too: the second pass draws what the first one drew."""
    fits = {}
    for how in ["off", *HOW]:
        settings = training(max_steps=12, accumulation_steps=2, precision=precision, gradient_checkpointing=how)
        fits[how] = outcome(fit_here(LM, settings, tmp_path / how))
    assert fits["selective"] == fits["full"] == fits["off"]


def kept_bytes(how: str) -> int:
    """What is still allocated after the forward pass that was not before it."""
    task = language_model(how, width=64)
    batch = task.batch(np.arange(32), 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        loss = task.loss(batch)[0]
    kept = sum(event.self_cpu_memory_usage for event in profile.events())
    assert loss.requires_grad
    return kept


def test_selective_keeps_less_than_all_and_full_least():
    off, selective, full = (kept_bytes(how) for how in ("off", *HOW))
    assert full < 0.5 * off
    assert full < selective < 0.8 * off


@pytest.mark.parametrize("how", HOW)
def test_names_and_modules_are_those_without(how):
    plain, wrapped = language_model("off").model, language_model(how).model
    assert [name for name, _ in wrapped.named_modules()] == [name for name, _ in plain.named_modules()]
    assert list(wrapped.state_dict()) == list(plain.state_dict())
    assert [type(module) for module in wrapped.modules()] == [type(module) for module in plain.modules()]


@pytest.mark.parametrize("how", HOW)
def test_blocks_run_twice_with_gradients_and_once_without(how):
    task, calls = language_model(how, dropout=0.0), []
    task.model.layers[0].norm1.register_forward_hook(lambda *_: calls.append(1))
    task.model.train()
    loss = task.loss(task.batch(np.arange(4), 0))[0]
    assert len(calls) == 1
    loss.backward()
    assert len(calls) == 2
    with torch.no_grad():
        task.loss(task.batch(np.arange(4), 0))
    assert len(calls) == 3


def test_memory_may_be_saved_from_a_checkpoint_on(tmp_path):
    """Out of memory half-way: gradient checkpointing is switched on, and the run goes on as if nothing was."""
    settings = training(max_steps=12, checkpoint_every=3)
    whole = fit_here(LM, settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit_here(LM, settings, tmp_path / "rest", stop_after=6)
    saving = settings.model_copy(update={"gradient_checkpointing": "full"})
    assert outcome(fit_here(LM, saving, tmp_path / "rest")) == outcome(whole)


def test_a_copy_of_a_block_computes_with_its_own_weights():
    model = language_model("full", dropout=0.0).model
    other, x = copy.deepcopy(model), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(other(x), torch.zeros_like(other(x)))
    assert not torch.equal(model(x), other(x))


def test_blocks_are_the_outermost_repeated_entries_of_lists():
    def experts() -> nn.Module:
        block = nn.Module()
        block.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        return block

    same = nn.ModuleList(experts() for _ in range(2))
    mixed = nn.ModuleList([nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Linear(1, 1)])
    shared = nn.ModuleDict({"a": same, "b": same})
    assert blocks_of(task_of(one=shared, two=mixed)) == [*same, mixed[0], mixed[1]]
    alone = nn.ModuleList([experts()])
    assert blocks_of(task_of(one=alone)) == list(alone[0].experts)
    assert blocks_of(task_of(one=nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)))) == []


def test_a_task_may_name_its_blocks():
    calls = []

    class Counted(nn.Linear):
        def forward(self, x):
            calls.append(self)
            return super().forward(x)

    network = nn.Sequential(Counted(4, 4), nn.Tanh(), Counted(4, 4))
    task = task_of(network=network)
    task.blocks = [network[0]]
    recompute_blocks(task, training(gradient_checkpointing="full"))
    network(torch.ones(2, 4)).sum().backward()
    assert calls == [network[0], network[2], network[0]]


@pytest.mark.parametrize("how", HOW)
def test_a_model_without_blocks_is_refused(how, tmp_path):
    with pytest.raises(UsageError, match=f"gradient_checkpointing is {how}, but this model has no repeated blocks"):
        fit_here(GAN, training(gradient_checkpointing=how), tmp_path)


def test_blocks_with_running_statistics_are_refused():
    def block(**norm) -> nn.Module:
        return nn.ModuleDict({"norm": nn.BatchNorm1d(4, **norm)})

    with pytest.raises(UsageError, match=r"its norm \(BatchNorm1d\) keeps running statistics"):
        recompute_blocks(task_of(m=nn.ModuleList([block(), block()])), training(gradient_checkpointing="full"))
    plain = nn.ModuleList([block(track_running_stats=False), block(track_running_stats=False)])
    recompute_blocks(task_of(m=plain), training(gradient_checkpointing="full"))


def test_attention_that_draws_is_run_again():
    """Were its draws left out of the second pass, the dropout after it would fall elsewhere."""
    aten, x = torch.ops.aten, torch.ones(1, 1, 2, 2)
    attention = aten._scaled_dot_product_flash_attention.default
    assert _policy(None, attention, x, x, x) == CheckpointPolicy.MUST_SAVE
    assert _policy(None, attention, x, x, x, 0.0, True) == CheckpointPolicy.MUST_SAVE
    assert _policy(None, attention, x, x, x, 0.1, True) == CheckpointPolicy.PREFER_RECOMPUTE
    assert _policy(None, attention, x, x, x, dropout_p=0.1) == CheckpointPolicy.PREFER_RECOMPUTE
    assert _policy(None, aten.mm.default, x, x) == CheckpointPolicy.MUST_SAVE
    assert _policy(None, aten.gelu.default, x) == CheckpointPolicy.PREFER_RECOMPUTE


def hub_models() -> dict[str, nn.Module]:
    """As their configurations are by default: they fill caches of keys and values even in training."""
    from transformers import LlamaConfig, LlamaForCausalLM, MarianConfig, MarianMTModel

    torch.manual_seed(0)
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    special = {"pad_token_id": 0, "decoder_start_token_id": 0, "max_position_embeddings": 32}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {
        "llama": LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes)),
        "marian": MarianMTModel(MarianConfig(vocab_size=32, d_model=16, **heads, **layers, **special)),
    }


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("name", "num_blocks"), [("llama", 2), ("marian", 4)])
def test_the_layers_of_hub_models_are_found_and_recomputed(name, num_blocks, how):
    model, ids = hub_models()[name].train(), torch.arange(20).reshape(2, 10)
    inputs = {"decoder_input_ids": ids} if name == "marian" else {}

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(1)  # dropout
        model(input_ids=ids, **inputs).logits.square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    plain = gradients()
    task = task_of(model=model)
    assert len(blocks_of(task)) == num_blocks
    recompute_blocks(task, training(gradient_checkpointing=how))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(gradients(), plain, strict=True))
