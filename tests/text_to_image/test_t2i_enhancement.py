"""Prompt enhancement: fuller prompts that still say all that the user said."""

import pytest
import torch

from components.engines.base.errors import StageError
from components.engines.base.paths import read_jsonl
from components.engines.scoring.embedder import Embedder
from components.engines.worlds.scenes import PHRASINGS, describe, scenes
from components.text_to_image.serving.enhancement import CAPTIONS, Enhancer, content_words, write_captions


def nothing_refused(texts):
    return [None] * len(texts)


@pytest.fixture(scope="module")
def embedder(t2i_base):
    return Embedder.load(t2i_base.root / "data/clip/model")


@pytest.fixture(scope="module")
def index(tmp_path_factory, embedder):
    folder = tmp_path_factory.mktemp("captions")
    seen = [describe(scene, number % len(PHRASINGS)) for number, scene in enumerate(scenes(held_out=False))]
    write_captions(folder, seen + seen[:9], embedder, nothing_refused)
    return folder


@pytest.fixture(scope="module")
def enhancer(index, embedder):
    return Enhancer.load(index, embedder)


def test_every_word_of_the_prompt_is_kept_and_more_is_said(enhancer):
    asked = ["a green circle", "a large blue thing", "square, small, yellow", "striped"]
    fuller = enhancer.enhance(asked, [1, 2, 3, 4])
    for prompt, said in zip(asked, fuller, strict=True):
        assert content_words(prompt) <= content_words(said)
    assert fuller[1] == asked[1]  # no caption speaks of a thing
    assert all(len(content_words(said)) > len(content_words(prompt)) for prompt, said in zip(asked, fuller, strict=True)
               if said != prompt)  # fmt: skip
    assert sum(said != prompt for prompt, said in zip(asked, fuller, strict=True)) == 3


def test_a_complete_prompt_an_unknown_one_and_a_wordless_one_stay(enhancer):
    whole = enhancer.captions[5]
    turned = " ".join(reversed(whole.replace(",", "").split()))
    asked = [whole, turned, "a green circle on the moon", "a picture of it", "?"]
    assert enhancer.enhance(asked, [0] * 5) == asked


def test_the_seed_chooses_among_the_nearest_and_the_neighbours_do_not(enhancer):
    seeds = list(range(40))
    found = enhancer.enhance(["a green circle"] * 40, seeds)
    assert found == [enhancer.enhance(["a green circle"], [seed])[0] for seed in seeds]
    assert 2 < len(set(found)) <= 8


def test_the_nearest_is_nearest_by_embedding(index, embedder):
    strict = Enhancer.load(index, embedder, num_nearest=1)
    prompt = "a purple square"
    said = strict.enhance([prompt], [7])[0]
    holding = [text for text in strict.captions if content_words(prompt) <= content_words(text)]
    cosines = embedder.embed_texts(holding) @ embedder.embed_texts([prompt])[0]
    assert len(holding) > 3
    assert cosines[holding.index(said)] == pytest.approx(cosines.max().item(), abs=1e-6)


def test_the_index_holds_each_caption_once_and_none_that_is_refused(tmp_path, embedder):
    def no_crosses(texts):
        return ["no crosses" if "cross" in text else None for text in texts]

    captions = ["a red circle", "a red cross", "a blue square", "a red circle"]
    assert write_captions(tmp_path, captions, embedder, no_crosses) == 2
    assert [row["caption"] for row in read_jsonl(tmp_path / CAPTIONS)] == ["a blue square", "a red circle"]
    assert Enhancer.load(tmp_path, embedder).enhance(["red"], [0]) == ["a red circle"]
    with pytest.raises(StageError, match="No caption is left"):
        write_captions(tmp_path, ["a red cross"], embedder, no_crosses)


def test_captions_without_their_embeddings_are_refused(tmp_path, embedder):
    write_captions(tmp_path, ["a red circle", "a blue square"], embedder, nothing_refused)
    (tmp_path / CAPTIONS).write_text('{"caption": "a red circle"}\n')
    with pytest.raises(StageError, match="1 captions have 2 embeddings"):
        Enhancer.load(tmp_path, embedder)


def test_vectors_are_stored_as_they_are_computed(enhancer):
    again = enhancer.embedder.embed_texts(enhancer.captions)
    torch.testing.assert_close(enhancer.vectors, again, atol=1e-5, rtol=0)
