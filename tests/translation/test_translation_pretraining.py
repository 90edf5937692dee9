"""What pretraining hands on: a trained encoder and decoder beside cross-attention as it was before."""

import pytest
import torch

from components.translation.networks import marian as networks
from components.translation.pretrain import start
from tests.translation.small import DATA, SMALL, small


@pytest.mark.parametrize("kept", [False, True])
def test_cross_attention_is_handed_on_as_it_was_unless_it_is_to_be_kept(tmp_path, kept):
    room = small(tmp_path, {"keep_cross_attention": kept}, ingest={"num_train": 300, "num_test": 40})
    room.run_all(*DATA, "pretrain")
    before, _ = start(SMALL, room.data / "tokenizer", seed=0)
    old, new = before.state_dict(), networks.load(room.data / "pretrained").state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    crossing = {name for name in old if ".encoder_attn." in name}
    assert {name for name in changed if ".self_attn." in name}
    assert bool(changed & crossing) == kept
    untouched = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight", "final_logits_bias"}
    assert old.keys() - changed - crossing <= untouched
