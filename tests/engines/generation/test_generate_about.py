"""Texts about features: a decoder that attends to them, in batches with the order kept."""

import pytest
import torch
from transformers import BlipTextConfig, BlipTextLMHeadModel

from components.engines.base.errors import UsageError
from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_about


class Words:
    pad_token_id = 0

    def decode(self, tokens, skip_special_tokens):
        return " ".join(map(str, tokens))


def decoder(**tokens):
    torch.manual_seed(0)
    shape = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = BlipTextConfig(**shape, encoder_hidden_size=6, max_position_embeddings=9, initializer_range=1.0)
    network = BlipTextLMHeadModel(config).eval()
    for name, token in {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **tokens}.items():
        setattr(network.generation_config, name, token)
    return network


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(strategy="beam", num_beams=3), Decoding(strategy="sample")])
def test_each_text_is_about_its_own_features(decoding):
    network, features = decoder(), torch.randn(7, 4, 6, generator=torch.Generator().manual_seed(1))
    together, by_two, turned = (
        generate_about(network, Words(), given, decoding, seeds=seeds, batch_size=size)
        for given, seeds, size in (
            (features, range(7), 7), (features, range(7), 2), (features.flip(0), range(6, -1, -1), 7),
        )
    )  # fmt: skip
    assert [one.tokens for one in together] == [one.tokens for one in by_two] == [one.tokens for one in turned[::-1]]
    assert len({tuple(one.tokens) for one in together}) > 3
    assert all(len(one.tokens) <= 8 for one in together)  # nine positions, the first of them the start token's


def test_several_texts_of_one_picture_stand_in_a_row_and_scores_are_those_of_the_model():
    network, features = decoder(), torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
    found = generate_about(
        network, Words(), features, Decoding(strategy="beam", num_beams=3, num_return_sequences=2), seeds=[0, 0]
    )
    assert len(found) == 4
    for index, one in enumerate(found):
        tokens = torch.tensor([[1, *one.tokens, *([2] if one.finished else [])]])
        with torch.no_grad():
            logits = network(tokens, encoder_hidden_states=features[index // 2][None]).logits[0]
        chosen = logits.log_softmax(-1)[:-1].gather(1, tokens[0, 1:, None])
        assert one.score == pytest.approx(float(chosen.mean()), abs=1e-4)


def test_a_decoder_without_a_start_is_refused():
    with pytest.raises(UsageError, match="no start token"):
        generate_about(decoder(bos_token_id=None), Words(), torch.randn(1, 4, 6), Decoding(), seeds=[0])
