"""RoPE's three properties (Su et al. 2021, arXiv:2104.09864), on the rotation that the network uses."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from components.chat_assistant.architecture import Architecture
from components.chat_assistant.networks import language_model
from tests.engines.language.test_chat_tokens import WORDS, small_llama

WIDTH = 16
CONFIG = LlamaConfig(hidden_size=WIDTH, num_attention_heads=1, max_position_embeddings=64)


def rotated(vectors, places):
    """[places, width] of a vector each, as keys are."""
    cos, sin = LlamaRotaryEmbedding(CONFIG)(vectors[None], torch.tensor([places]))
    return apply_rotary_pos_emb(vectors[None, None], vectors[None, None], cos, sin)[1][0, 0]


def test_shifting_all_positions_changes_nothing():
    """Translational invariance: of vectors in the network, and of a whole network's answers."""
    torch.manual_seed(0)
    vectors = torch.randn(6, WIDTH)
    here, there = rotated(vectors, list(range(6))), rotated(vectors, list(range(40, 46)))
    torch.testing.assert_close(here @ here.T, there @ there.T, atol=1e-4, rtol=1e-4)
    model, ids = small_llama().eval(), torch.tensor([[1, 5, 9, 6, 7]])
    shifted = [model(input_ids=ids, position_ids=torch.arange(5)[None] + start).logits for start in (0, 50)]
    torch.testing.assert_close(*shifted, atol=1e-4, rtol=1e-4)


def test_a_product_depends_on_the_distance_alone_and_on_it_it_does():
    """Relative positions: q at m times k at n is a function of m − n; lengths stay as they are."""
    torch.manual_seed(0)
    query, key = torch.randn(2, WIDTH)

    def product(m, n):
        return (rotated(query[None], [m]) * rotated(key[None], [n])).sum().item()

    for distance in (0, 3, 11):
        same = [product(place + distance, place) for place in (0, 7, 30)]
        assert same == pytest.approx([same[0]] * 3, abs=1e-4)
    assert abs(product(3, 0) - product(0, 0)) > 1e-2
    assert rotated(key[None], [37]).norm().item() == pytest.approx(key.norm().item(), rel=1e-5)


def test_positions_beyond_any_that_were_seen_are_computed_and_a_learned_table_has_none():
    """Unseen lengths: rotation is defined at any place; far products are those of near ones at the same distance."""
    torch.manual_seed(0)
    vectors = torch.randn(2, WIDTH)
    near, far = rotated(vectors, [0, 5]), rotated(vectors, [1000, 1005])
    assert (near[0] @ near[1]).item() == pytest.approx((far[0] @ far[1]).item(), abs=2e-3)
    ids = torch.full((1, 200), 7)
    shape = {"width": 32, "layers": 1, "heads": 2, "key_heads": 1, "max_tokens": 32}
    rotary, table, relative = (
        language_model.build(Architecture(family=family, **shape), WORDS).eval() for family in ("llama", "gpt2", "mpt")
    )
    assert rotary(input_ids=ids).logits.isfinite().all()
    with pytest.raises(IndexError):
        table(input_ids=ids)
    assert relative(input_ids=ids[:, :60]).logits.isfinite().all()
