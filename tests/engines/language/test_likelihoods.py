"""Token likelihoods of tiny random models: against the model's own loss, and independent of batching."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from components.engines.language.causal import CausalLM, Encoded, Tokens
from components.engines.language.paired import Translating
from components.engines.language.pairs import Pair
from components.engines.scoring.metrics import compute

TEXTS = ["a b c d e", "b", "c c a", "e d"]
SOURCES = ["d a", "a a a a", "e", "b c"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small only wait for a second thread, long when other work has the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary = {token: n for n, token in enumerate(["<pad>", "</s>", "<unk>", "a", "b", "c", "d", "e"])}
    inner = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def marian():
    torch.manual_seed(0)
    config = MarianConfig(
        vocab_size=8, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=32,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=None,
    )  # fmt: skip
    return MarianMTModel(config).eval()


def nlls_of(model, tokenizer, texts, sources=None):
    """Of every token of each text but a decoder-only model's first."""
    if sources is None:
        samples = Encoded(texts, lambda text: whole(tokenizer(text)["input_ids"]))
        return CausalLM(model, samples, samples, pad_id=0).nlls(samples)
    pairs = [Pair(text, source, text, {}) for source, text in zip(sources, texts, strict=True)]
    return Translating(model, tokenizer, pairs, pairs, max_tokens=32).nlls(pairs)


def whole(ids):
    return Tokens(ids, [True] * len(ids))


def test_decoder_only_matches_the_models_loss(llama, tokenizer):
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        (nlls,) = nlls_of(llama, tokenizer, [text])
        assert len(nlls) == ids.shape[1] - 1
        assert sum(nlls) / len(nlls) == pytest.approx(llama(ids, labels=ids).loss.item(), rel=1e-5)


def test_encoder_decoder_matches_the_models_loss(marian, tokenizer):
    for source, text in zip(SOURCES, TEXTS, strict=True):
        inputs, labels = (torch.tensor([tokenizer(words)["input_ids"]]) for words in (source, text))
        (nlls,) = nlls_of(marian, tokenizer, [text], [source])
        assert len(nlls) == labels.shape[1]
        assert sum(nlls) / len(nlls) == pytest.approx(marian(inputs, labels=labels).loss.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "marian"])
def test_batching_changes_nothing(kind, tokenizer, request):
    model = request.getfixturevalue(kind)
    sources = SOURCES if kind == "marian" else [None] * len(TEXTS)
    batched = nlls_of(model, tokenizer, TEXTS, sources if kind == "marian" else None)
    for text, source, together in zip(TEXTS, sources, batched, strict=True):
        (alone,) = nlls_of(model, tokenizer, [text], source and [source])
        assert together == pytest.approx(alone, rel=1e-4)
    assert 1 < compute("perplexity", batched)["perplexity"] < 20
