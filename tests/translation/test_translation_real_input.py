"""Real sentence pairs and real checkpoint layouts go through the same stages with only params changed."""

from pathlib import Path

import pytest

from components.engines.base.errors import UsageError
from components.engines.base.paths import read_json, read_jsonl
from components.translation.ingest import Ingest
from tests.translation.small import DATA, TRAIN, small

SHARED = Path(__file__).resolve().parents[3] / "shared/data/translation"
CLEAN = {"num_train": 300, "num_test": 30, "dirt_fraction": 0}
pytestmark = pytest.mark.slow


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")
@pytest.mark.parametrize(
    ("file", "fields", "language"),
    [
        ("tatoeba_eng_deu.tsv", {"source": "eng", "target": "deu"}, "de"),
        ("ntrex_en_de_fr_es.tsv", {"source": "en", "target": "fr"}, "fr"),
    ],
)
def test_real_pairs_go_through_every_stage(tmp_path, file, fields, language):
    source = Ingest(source=str(SHARED / file), fields=fields, valid_fraction=0.1)
    cleaning = {"source_language": "en", "target_language": language, "source_script": "latin"}
    room = small(tmp_path, {}, ingest=source, clean=cleaning).run_all(*DATA, *TRAIN)
    figures = room.evaluate()
    assert figures["bleu_signature"].startswith("nrefs:1|case:mixed")
    assert 0 < figures["bleu_copy_source"] < 30
    assert "agreement" not in figures
    assert read_json(room.reports / "cleaning.json")["kept_fraction"] > 0.9
    assert len(read_jsonl(room.reports / "scores.jsonl")) == figures["test_pairs"] >= 20


@pytest.fixture(params=["marian", "bart"])
def checkpoint(request, tmp_path):
    """A folder as the hub has them: saved by transformers itself, with a tokenizer of its own."""
    from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel

    from tests.translation.test_translator import tiny_tokenizer

    text = tiny_tokenizer()
    shape = {"vocab_size": len(text), "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "pad_token_id": 0}
    shape |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    shape |= {"eos_token_id": 1, "bos_token_id": 2, "decoder_start_token_id": 2, "max_position_embeddings": 200}
    kinds = {"marian": (MarianMTModel, MarianConfig), "bart": (BartForConditionalGeneration, BartConfig)}
    network, config = kinds[request.param]
    network(config(**shape, forced_eos_token_id=None)).save_pretrained(tmp_path / "checkpoint")
    text.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_checkpoint_is_fine_tuned_by_the_same_stages_and_loads_back_in_transformers(tmp_path, checkpoint):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    room = small(tmp_path, architecture={"init_from": str(checkpoint)}, ingest=CLEAN).run_all(*DATA, *TRAIN)
    figures = room.evaluate()
    assert figures["test_pairs"] == 30
    before, after = (AutoModelForSeq2SeqLM.from_pretrained(folder) for folder in (checkpoint, room.data / "model"))
    assert type(before) is type(after)
    assert before.config.vocab_size == after.config.vocab_size
    moved = [not a.equal(b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert any(moved)
    assert len(AutoTokenizer.from_pretrained(room.data / "model")) == len(AutoTokenizer.from_pretrained(checkpoint))


def test_a_checkpoint_that_is_not_there_is_one_clear_error(tmp_path):
    room = small(tmp_path, architecture={"init_from": str(tmp_path / "nothing")}, ingest=CLEAN)
    with pytest.raises(UsageError, match=r"Cannot load a tokenizer.*nothing"):
        room.run_all(*DATA)
