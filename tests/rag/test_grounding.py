"""RAFT's loss, prompts and their answers, and the check of claims, each against what can be worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from components.engines.documents.chunking import Chunk
from components.rag.architecture import Generator, Prompting
from components.rag.serving.expansion import Expander
from components.rag.serving.faithfulness import consistency, supported
from components.rag.serving.passages import Remembered, passages_of
from components.rag.serving.prompts import prompt_of, read_answer, read_so_far, target_of
from components.rag.tasks.matching import Matching
from components.rag.tasks.raft import Grounded, Raft, penalised

PLAIN = Prompting()


def test_the_penalty_is_the_chance_of_what_only_irrelevant_passages_say():
    logits = torch.log(torch.tensor([[[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.4, 0.4]]]))
    labels = torch.tensor([[0, -100]])
    found = penalised(logits, labels, torch.tensor([[1, 2, 2]]))  # a token that comes twice counts once
    assert found.item() == pytest.approx(-np.log(1 - 0.4), rel=1e-5)
    assert penalised(logits, labels, torch.tensor([[3]])).item() < found.item()


PARTS = st.sampled_from(["none", "[1]", "[2]", "[9]", "[", "34", " months", " ", "So:", "x]", "None"])


@given(st.lists(PARTS, max_size=9), st.booleans())
def test_what_is_streamed_is_always_the_beginning_of_the_answer(parts, thinking):
    assume(parts.count("So:") <= 1)  # a second thought takes the first answer back
    prompting = Prompting(chain_of_thought=thinking)
    text, told = "", ""
    for part in parts:
        text += part
        so_far = read_so_far(text, 2, prompting)
        assert so_far.startswith(told) or told.startswith(so_far)
        told = max(told, so_far, key=len)
    answer, _ = read_answer(text, 2, prompting)
    assert (answer or "").startswith(told)


def tiny(vocabulary=20):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        )
    ).eval()


def grounded(prompt, answer, irrelevant):
    return Grounded([*prompt, *answer], [False] * len(prompt) + [True] * len(answer), irrelevant)


def test_only_the_answer_is_learnt_and_the_penalty_comes_on_top():
    sample = grounded([1, 5, 6, 7], [8, 2], [9, 10])
    plain, with_penalty = (Raft(tiny(), [sample], [sample], pad_id=0, penalty=weight) for weight in (0.0, 0.5))
    batch = plain.batch(np.array([0]), 0)
    assert (batch["labels"] != -100).sum() == 2
    base, _ = plain.loss(batch)
    total, sums = with_penalty.loss(batch)
    assert total.item() == pytest.approx(base.item() + 0.5 * sums["penalty"].item(), rel=1e-5)
    assert sums["penalty"].item() > 0


def test_a_step_against_the_penalty_lowers_what_irrelevant_passages_get():
    sample = grounded([1, 5, 6, 7], [8, 2], [9, 10])
    task = Raft(tiny(), [sample], [sample], pad_id=0, penalty=5.0)
    batch = task.batch(np.array([0]), 0)
    optimiser = torch.optim.SGD(task.model.parameters(), 0.1)
    before = task.loss(batch)[1]["penalty"].item()
    for _ in range(20):
        optimiser.zero_grad()
        task.loss(batch)[0].backward()
        optimiser.step()
    assert task.loss(batch)[1]["penalty"].item() < before


class Letters:
    """An embedder of one vector a letter."""

    def __init__(self):
        torch.manual_seed(0)
        self.network = torch.nn.Embedding(30, 8)

    def tokens(self, texts):
        ids = torch.tensor([[ord(text[0]) - 97] for text in texts])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def vectors(self, tokens):
        return torch.nn.functional.normalize(self.network(tokens["input_ids"][:, 0]), dim=-1)


def test_equal_texts_are_no_negatives_of_each_other():
    task = Matching(Letters(), [("a", "x"), ("b", "x"), ("c", "y")], [("a", "x")])
    both = task.loss(task.batch(np.array([0, 1]), 0))[0]
    assert both.item() == pytest.approx(0.0, abs=1e-4)  # the other text is the same, so nothing competes
    assert task.loss(task.batch(np.array([0, 2]), 0))[0].item() > 0.01


def test_a_prompt_numbers_its_passages_and_templates_add_to_it():
    prompt = prompt_of("Who?", ["one", "two"], PLAIN)
    assert prompt == "[1] one\n[2] two\nQuestion: Who?\nAnswer:"
    full = Prompting(role="You answer briefly.", few_shot=2, user_context=True, chain_of_thought=True)
    told = prompt_of("Who?", ["one"], full, "works in Brack")
    assert told.startswith("You answer briefly.\n")
    assert "About the user: works in Brack" in told
    assert told.count("Question:") == 3
    assert told.endswith("Think step by step. Answer:")
    assert "works in Brack" not in prompt_of("Who?", ["one"], PLAIN, "works in Brack")


def test_words_that_question_and_passages_share_are_marked_in_both():
    marking = Prompting(matches=True)
    passages = ["The Amber lamp is in hall 3.", "Ada runs the Cedar mill."]
    assert prompt_of("Who runs the Amber mill?", passages, marking) == (
        "[1] The Amber * lamp is in hall 3.\n[2] Ada runs * the Cedar mill *.\n"
        "Question: Who runs * the Amber * mill *?\nAnswer:"
    )
    alone = prompt_of("Who runs the Amber mill?", passages[1:], marking)
    assert alone.endswith("Question: Who runs * the Amber mill *?\nAnswer:")  # the name stands nowhere
    assert prompt_of("Who runs it?", [], marking) == prompt_of("Who runs it?", [], PLAIN)
    assert read_answer("[1] Amber * lamp", 1, marking) == ("Amber lamp", [1])
    assert read_answer("[1] 3 * 4", 1, PLAIN) == ("3 * 4", [1])


@given(
    answer=st.sampled_from([None, "12 euros", "Mira Holt"]),
    cited=st.integers(1, 4),
    thinking=st.booleans(),
    matches=st.booleans(),
)
def test_what_the_reader_is_taught_to_say_is_read_back(answer, cited, thinking, matches):
    prompting = Prompting(chain_of_thought=thinking, matches=matches)
    said = target_of(answer, cited, "The lamp costs 12 euros.", prompting)
    assert read_answer(said, 4, prompting) == ((answer, [cited]) if answer else (None, []))


@pytest.mark.parametrize("said", ["none", "", "12 euros", "[7] 12 euros", "[2]"])
def test_an_answer_without_a_passage_that_is_there_is_none(said):
    assert read_answer(said, 4, PLAIN) == (None, [])


def test_a_claim_is_supported_by_its_source_alone():
    source = "Amber lamp > The Amber lamp costs 34 euros."
    assert supported("What is the price of the Amber lamp?", "34 euros", source)
    assert not supported("What is the price of the Amber lamp?", "35 euros", source)
    assert not supported("What is the price of the Cedar lamp?", "34 euros", source)
    assert not supported("What is the price of the Amber lamp?", "the", source)


def test_consistency_is_the_share_that_agrees():
    assert consistency(["12 euros", "12 Euros.", None, "12 euros"]) == 0.75
    assert consistency([]) == 0.0


def chunk(text, kind="text"):
    return Chunk("a", "d", 1, kind, text, (), ())


def test_passages_are_sentences_rows_and_forms():
    assert passages_of(chunk("The lamp costs\n12 euros. It weighs 3.5 kilograms."), 99) == [
        "The lamp costs 12 euros.",
        "It weighs 3.5 kilograms.",
    ]
    assert passages_of(chunk("Table 1: Prices\nname: lamp; price: 12\nname: fan; price: 15", "table"), 99)[-1] == (
        "name: fan; price: 15"
    )
    assert passages_of(chunk("name: Mira\noffice: 12"), 99) == ["name: Mira; office: 12"]


def test_a_text_is_embedded_once_while_it_is_remembered():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.array([[float(len(text))] for text in texts])

    remembered = Remembered(embed, size=2)
    assert remembered(["a", "bb", "a"]).tolist() == [[1.0], [2.0], [1.0]]
    assert remembered(["bb", "ccc"]).tolist() == [[2.0], [3.0]]
    assert remembered(["a"]).tolist() == [[1.0]]
    assert asked == ["a", "bb", "ccc", "a"]


def test_expansion_adds_words_and_changes_nothing_without_any():
    assert Expander({})("How heavy?") == "How heavy?"
    assert Expander({"heavy": ["weight", "how"]})("How heavy?") == "How heavy? weight"


def test_the_printer_prints_the_same_library_again_and_names_stay_on_their_side():
    from components.rag.world.library import Library

    def drawn():
        library = Library(40, 3, scanned_fraction=0.0, copied_fraction=0.3)
        return [(one.name, one.data) for one in library.documents()], list(library.questions(0.3, 0.1))

    documents, questions = drawn()
    assert drawn() == (documents, questions)
    sides = {split: {one.about for one in questions if one.split == split} for split in ("train", "valid", "test")}
    assert not sides["train"] & sides["test"]
    for one in questions:
        assert one.kind == "answerable" or one.answer is None
        assert one.answer is None or one.answer in one.evidence or one.form == "form"
    assert {one.kind for one in questions} >= {"answerable", "unanswerable"}


def test_a_reader_starts_by_looking_for_the_word_it_stands_at():
    from types import SimpleNamespace

    from components.rag.networks.generator import build

    class Words(SimpleNamespace):
        def __len__(self):
            return 200

    torch.manual_seed(0)
    network = build(
        Generator(width=64, layers=2, heads=4, max_tokens=64), Words(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    )
    ids = torch.randperm(190)[:30] + 5
    ids = torch.cat([ids, ids[11:12]])[None]
    with torch.no_grad():
        states = network.model.embed_tokens(ids)
        layer = network.model.layers[0]
        seen = layer.input_layernorm(states)
        looks, looked_at = (
            one(seen)[0].unflatten(-1, (4, 16)) for one in (layer.self_attn.q_proj, layer.self_attn.k_proj)
        )
    alike = torch.einsum("hd,thd->ht", looks[-1], looked_at)[:3, :-1]  # of the heads that match, to the words before
    assert alike.argmax(1).tolist() == [11] * 3
