"""How passages are put to the reader: all together, or each alone and the surest answers."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MptConfig, MptForCausalLM

from components.engines.generation.decoding import Decoding
from components.engines.generation.text import next_scores
from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe
from components.rag.architecture import Prompting
from components.rag.serving.prompts import NONE, prompt_of
from components.rag.serving.reading import Put, Reader

PASSAGES = ["The Amber lamp is blue.", "The Amber lamp weighs 3 kg.", "The Cedar lamp weighs 9 kg."]
ASKED = Put("How much does the Amber lamp weigh?", PASSAGES)


@pytest.fixture(scope="module")
def tokenizer():
    texts = [prompt_of(ASKED.question, PASSAGES, Prompting()), "[1] 3 kg", NONE] * 3
    return train_bpe(iter(texts), Vocabulary(vocab_size=400), SPECIAL, single="<s> $A")


@pytest.fixture(scope="module")
def network(tokenizer):
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, initializer_range=0.5, **ids, **shape)
    return LlamaForCausalLM(config).eval()


def reader(network, tokenizer, reading):
    return Reader(network, tokenizer, Prompting(reading=reading), Decoding(max_new_tokens=4))


@pytest.fixture(scope="module")
def biased(tokenizer):
    """A network that takes no positions: a bias by distance in their place (ALiBi)."""
    torch.manual_seed(1)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 256}
    return MptForCausalLM(MptConfig(vocab_size=len(tokenizer), initializer_range=0.5, **ids, **shape)).eval()


@pytest.mark.parametrize("kind", ["network", "biased"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_of_the_next_token_are_the_networks_own(request, kind, tokenizer, batch_size):
    network = request.getfixturevalue(kind)
    texts = [ASKED.question, *PASSAGES]
    found = next_scores(network, tokenizer, texts, [5, 9], batch_size=batch_size)
    for text, scores in zip(texts, found, strict=True):
        with torch.no_grad():
            logits = network(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1]
        torch.testing.assert_close(torch.tensor(scores), logits.log_softmax(-1)[[5, 9]], atol=1e-4, rtol=0)


def test_passages_are_read_in_one_prompt_or_the_surest_alone(network, tokenizer):
    (page,) = reader(network, tokenizer, "together").pages([ASKED])
    assert (page.prompt, page.numbers) == (prompt_of(ASKED.question, PASSAGES, Prompting()), [1, 2, 3])
    prompts = [prompt_of(ASKED.question, [one], Prompting()) for one in PASSAGES]
    begins = [tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in ("[1]", NONE)]
    sure = [cites - none for cites, none in next_scores(network, tokenizer, prompts, begins)]
    best = sure.index(max(sure))
    assert len({round(one, 3) for one in sure}) == 3
    for turn in range(3):  # wherever the surest passage stands
        passages = [*PASSAGES[turn:], *PASSAGES[:turn]]
        (page,) = reader(network, tokenizer, "apart").pages([Put(ASKED.question, passages)])
        assert page.prompt == prompts[best]
        assert passages[page.numbers[0] - 1] == PASSAGES[best]


def test_what_the_search_thinks_of_a_passage_counts_beside_how_sure_the_reader_is(network, tokenizer, monkeypatch):
    apart = Reader(network, tokenizer, Prompting(search_weight=10), Decoding(max_new_tokens=4))
    monkeypatch.setattr(apart, "_sureness", lambda prompts: [3.0, 2.0, 1.0])
    for fits, number in ((None, 1), ([0.5, 0.5, 0.5], 1), ([0.5, 0.7, 0.5], 2), ([0.5, 0.65, 0.8], 3)):
        assert apart.pages([Put(ASKED.question, PASSAGES, fits=fits)])[0].numbers == [number]


def test_an_answer_cites_the_passage_that_it_was_read_from(network, tokenizer, monkeypatch):
    apart = reader(network, tokenizer, "apart")
    monkeypatch.setattr(apart, "_sureness", lambda prompts: [float("weighs 9" in one) for one in prompts])
    (page,) = apart.pages([ASKED])
    assert page.numbers == [3]
    assert apart.understood(page, "[1] 9 kg").cited == [3]
    assert apart.understood(page, "[2] 9 kg").answer is None  # there was one passage
    assert apart.understood(page, NONE).answer is None
    assert apart.read([]) == []
    assert apart.pages([Put("Who?", [])])[0].numbers == []
