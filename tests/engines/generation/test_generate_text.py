"""Generation with tiny random models: strategies against brute force, batches against single texts, streams against both."""

import itertools
import math
import threading
from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from components.engines.base.errors import UsageError
from components.engines.generation.decoding import Decoding
from components.engines.generation.text import generate_text, stream_text

WORDS = ["<pad>", "</s>", "<unk>", *"abcdefghijklm"]
TEXTS = ["a b c", "d", "e f g h i j k l m a b c d", "c b a", "m m m m m m", "k a"]
GREEDY = Decoding(max_new_tokens=12)
SAMPLE = Decoding(strategy="sample", max_new_tokens=12, temperature=1.3, top_k=12, top_p=0.95)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small only wait for a second thread, long when other work has the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_tokenizer(end: bool) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if end:
        inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def make_marian(vocabulary: int = len(WORDS), scale: float = 6.0) -> MarianMTModel:
    torch.manual_seed(0)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=vocabulary, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
            encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=40, pad_token_id=0,
            eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=None, init_std=0.5,
        )
    )  # fmt: skip
    for layer in model.model.decoder.layers:  # let the source matter: random cross-attention is near uniform otherwise
        layer.encoder_attn.out_proj.weight.data *= scale
    model.generation_config.bad_words_ids = [[0]]
    model.generation_config.num_beams = 6
    model.generation_config.max_length = 30
    model.generation_config.min_length = 3
    return model.eval()


def make_llama() -> LlamaForCausalLM:
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=1, initializer_range=0.5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module", params=["marian", "llama"])
def pair(request):
    """(model, tokenizer) of an encoder–decoder and of a decoder-only model."""
    return (make_marian(), make_tokenizer(True)) if request.param == "marian" else (make_llama(), make_tokenizer(False))


def test_outputs_are_not_all_alike(pair):
    """Guards the other tests: a model that says the same to everything would make them empty."""
    outputs = generate_text(*pair, TEXTS, GREEDY)
    assert len({output.text for output in outputs}) >= 3


@pytest.mark.parametrize(
    "decoding",
    [GREEDY, Decoding(strategy="beam", num_beams=3, max_new_tokens=12), SAMPLE,
     Decoding(max_new_tokens=30, max_length_ratio=1.5), Decoding(max_new_tokens=9, repetition_penalty=1.5)],
    ids=["greedy", "beam", "sample", "ratio", "penalty"],
)  # fmt: skip
def test_batch_equals_single_in_the_order_given(pair, decoding):
    single = [generate_text(*pair, [text], decoding, batch_size=1, seed=3)[0] for text in TEXTS]
    for batch_size in (2, 4, 64):
        batched = generate_text(*pair, TEXTS, decoding, batch_size=batch_size, seed=3)
        assert [output.tokens for output in batched] == [output.tokens for output in single]
        assert [output.score for output in batched] == pytest.approx([output.score for output in single], abs=1e-4)
        assert [output.finished for output in batched] == [output.finished for output in single]


def test_without_scores_the_texts_are_the_same(pair):
    plain = generate_text(*pair, TEXTS, GREEDY, scored=False)
    assert [output.text for output in plain] == [output.text for output in generate_text(*pair, TEXTS, GREEDY)]
    assert all(math.isnan(output.score) for output in plain)


def test_runs_repeat(pair):
    for decoding in (GREEDY, SAMPLE, Decoding(strategy="beam", max_new_tokens=8)):
        assert generate_text(*pair, TEXTS, decoding, seed=5) == generate_text(*pair, TEXTS, decoding, seed=5)


def test_one_beam_is_greedy(pair):
    beam = generate_text(*pair, TEXTS, Decoding(strategy="beam", num_beams=1, max_new_tokens=12))
    assert [output.tokens for output in beam] == [output.tokens for output in generate_text(*pair, TEXTS, GREEDY)]


def test_greedy_takes_the_likeliest_token_each_time(pair):
    model, tokenizer = pair
    for text in TEXTS:
        (output,) = generate_text(model, tokenizer, [text], GREEDY)
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        so_far, expected, total = [], [], 0.0
        for _ in range(12):
            with torch.no_grad():
                if model.config.is_encoder_decoder:
                    logits = model(ids, decoder_input_ids=torch.tensor([[0, *so_far]])).logits[0, -1]
                else:
                    logits = model(torch.cat([ids, torch.tensor([so_far], dtype=torch.long)], 1)).logits[0, -1]
            probabilities = logits.log_softmax(-1)
            if model.config.is_encoder_decoder:
                logits[0] = -math.inf  # bad_words_ids: the padding token may not be written
            token = int(logits.argmax())
            total += probabilities[token].item()
            so_far.append(token)
            if token == 1:
                break
            expected.append(token)
        assert output.tokens == expected
        assert output.finished == (so_far[-1] == 1)
        assert output.score == pytest.approx(total / len(so_far), abs=1e-4)


def test_a_beam_as_wide_as_the_tree_finds_the_best_sequence():
    """With every prefix kept, beam search is exhaustive: its best is the best of all sequences, greedy's included."""
    vocabulary, limit = 6, 3
    model, tokenizer = make_marian(vocabulary), make_tokenizer(True)
    beam = Decoding(strategy="beam", num_beams=36, length_penalty=1.0, max_new_tokens=limit)
    greedy = Decoding(max_new_tokens=limit)
    for text in ("a b c", "b", "c a a b"):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        scores = {}
        for sequence in itertools.product(range(1, vocabulary), repeat=limit):
            cut = sequence[: sequence.index(1) + 1] if 1 in sequence else sequence
            with torch.no_grad():
                logits = model(ids, decoder_input_ids=torch.tensor([[0, *cut[:-1]]])).logits[0].log_softmax(-1)
            scores[cut] = sum(logits[step, token].item() for step, token in enumerate(cut)) / len(cut)
        best = max(scores, key=lambda cut: scores[cut])
        (found,) = generate_text(model, tokenizer, [text], beam)
        assert found.tokens == [token for token in best if token != 1]
        assert found.score == pytest.approx(scores[best], abs=1e-4)
        (plain,) = generate_text(model, tokenizer, [text], greedy)
        assert found.score >= plain.score - 1e-5


def test_several_beams_come_best_first_and_differ(pair):
    decoding = Decoding(strategy="beam", num_beams=4, num_return_sequences=3, max_new_tokens=6)
    outputs = generate_text(*pair, TEXTS, decoding, batch_size=4)
    assert len(outputs) == 3 * len(TEXTS)
    for index in range(len(TEXTS)):
        three = outputs[3 * index : 3 * index + 3]
        assert len({(tuple(output.tokens), output.finished) for output in three}) == 3
        assert [output.score for output in three] == sorted((output.score for output in three), reverse=True)


def test_sampling_follows_the_models_distribution():
    """First tokens of many samples against the softmax: χ² of 15 cells stays under its 99.9 % point (37.7)."""
    model, tokenizer = make_llama(), make_tokenizer(False)
    count = 2000
    decoding = Decoding(strategy="sample", max_new_tokens=1, num_return_sequences=count)
    outputs = generate_text(model, tokenizer, ["a b"], decoding, batch_size=500)
    seen = Counter(output.tokens[0] if output.tokens else 1 for output in outputs)
    with torch.no_grad():
        expected = model(torch.tensor([tokenizer("a b")["input_ids"]])).logits[0, -1].softmax(-1).tolist()
    assert sum((seen[token] - count * p) ** 2 / (count * p) for token, p in enumerate(expected)) < 37.7


def test_sampling_keys_bind():
    model, tokenizer = make_llama(), make_tokenizer(False)
    greedy = [output.tokens for output in generate_text(model, tokenizer, TEXTS, GREEDY)]
    for keys in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        decoding = Decoding(strategy="sample", max_new_tokens=12, **keys)
        assert [output.tokens for output in generate_text(model, tokenizer, TEXTS, decoding)] == greedy
    free = Decoding(strategy="sample", max_new_tokens=12)
    assert [output.tokens for output in generate_text(model, tokenizer, TEXTS, free)] != greedy


def test_seeds_and_repeats_of_a_text_give_different_samples(pair):
    twice = generate_text(*pair, ["a b c"] * 4, SAMPLE, seed=1)
    assert len({tuple(output.tokens) for output in twice}) > 1
    assert generate_text(*pair, ["a b c"], SAMPLE, seed=1)[0].tokens == twice[0].tokens
    other = generate_text(*pair, ["a b c"] * 4, SAMPLE, seed=2)
    assert [output.tokens for output in twice] != [output.tokens for output in other]


def test_sampling_leaves_the_global_generator_alone(pair):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    generate_text(*pair, TEXTS, SAMPLE)
    assert torch.equal(before, torch.get_rng_state())


def test_forbidden_tokens_stay_forbidden_under_sampling():
    """The draw comes behind every other processor: Marian's padding token is never written."""
    model, tokenizer = make_marian(), make_tokenizer(True)
    hot = Decoding(strategy="sample", temperature=50.0, max_new_tokens=30, num_return_sequences=20)
    outputs = generate_text(model, tokenizer, ["a b"], hot)
    assert {token for output in outputs for token in output.tokens} == set(range(2, len(WORDS)))


def test_limits(pair):
    for output in generate_text(*pair, TEXTS, Decoding(max_new_tokens=2)):
        assert len(output.tokens) == 2 or output.finished
    no_repeat = generate_text(*pair, TEXTS, Decoding(max_new_tokens=20, no_repeat_ngram_size=2))
    for output in no_repeat:
        pairs = list(itertools.pairwise(output.tokens))
        assert len(pairs) == len(set(pairs))


def test_the_models_positions_are_a_limit(pair):
    with pytest.raises(UsageError, match=r"positions.*a a a"):
        generate_text(*pair, ["a " * 45], GREEDY)
    (output,) = generate_text(*pair, ["b " * 30], Decoding(max_new_tokens=400))
    assert len(output.tokens) < 40


def test_empty_inputs():
    (output,) = generate_text(make_marian(), make_tokenizer(True), [""], GREEDY)
    assert isinstance(output.text, str)
    with pytest.raises(UsageError, match="no tokens"):
        generate_text(make_llama(), make_tokenizer(False), [""], GREEDY)
    assert generate_text(make_llama(), make_tokenizer(False), [], GREEDY) == []


def test_a_decoder_without_padding_token():
    model, tokenizer = make_llama(), make_tokenizer(False)
    expected = [output.tokens for output in generate_text(model, tokenizer, TEXTS, GREEDY)]
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>", unk_token="<unk>")
    model.generation_config.pad_token_id = None
    assert [output.tokens for output in generate_text(model, bare, TEXTS, GREEDY)] == expected


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLE], ids=["greedy", "sample"])
def test_stream_joins_to_the_text(pair, decoding):
    for text in TEXTS:
        pieces = list(stream_text(*pair, text, decoding, seed=3))
        (whole,) = generate_text(*pair, [text], decoding, seed=3)
        assert "".join(pieces) == whole.text
        assert len(pieces) > 1 or len(whole.tokens) < 3


def test_stream_refuses_what_it_cannot_do(pair):
    with pytest.raises(UsageError, match="strategy"):
        stream_text(*pair, "a", Decoding(strategy="beam"))


def test_errors_in_the_thread_surface(pair, monkeypatch):
    model, tokenizer = pair

    def fail(*_, **__):
        raise RuntimeError("the model broke")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RuntimeError, match="the model broke"):
        list(stream_text(model, tokenizer, "a b", GREEDY))


def test_closing_a_stream_stops_the_generation():
    model, tokenizer = make_llama(), make_tokenizer(False)
    steps = []
    forward = model.forward
    model.forward = lambda *args, **options: steps.append(1) or forward(*args, **options)
    model.generation_config.eos_token_id = None
    threads = threading.active_count()
    stream = stream_text(model, tokenizer, "a b", Decoding(max_new_tokens=38))
    next(stream)
    stream.close()
    assert threading.active_count() == threads
    assert len(steps) <= 38


def test_no_warnings_about_settings(pair, caplog, capsys):
    """transformers warns where a config contradicts itself: Marian's own beams and max_length are in these checkpoints."""
    for decoding in (GREEDY, SAMPLE, Decoding(strategy="beam", max_new_tokens=5)):
        generate_text(*pair, TEXTS[:2], decoding)
    assert not [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert "max_length" not in capsys.readouterr().err
