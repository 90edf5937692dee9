"""Real mails and prose go through every data stage with only params changed; nothing personal of them is ever written."""

import mailbox
import re
from email.message import EmailMessage
from pathlib import Path

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import read_json, read_jsonl
from components.engines.language.records import Records
from components.engines.sources.splits import SPLITS
from components.engines.tracking.registry import version
from components.engines.tracking.store import opened, store_of
from components.smart_compose.serve import SmartCompose
from tests.committed_room import commit_room
from tests.mlflow_answers import answers_over_mlflow
from tests.room import Room
from tests.smart_compose.small import MODEL, TRAINING, small

SHARED = Path(__file__).resolve().parents[3] / "shared/data/smart_compose"
REAL = [
    ("emails.jsonl", {"fields": {"sender": "sender", "body": "body"}}),
    ("news_ntrex_en.txt", {"text_unit": "paragraph"}),
    ("wikipedia_xquad_en.txt", {"text_unit": "paragraph"}),
]
DATA = ("ingest", "scrub", "validate")
SMALL = {"validate": {"min_train": 5, "min_test": 1, "max_mean_words": 1_000}}
ADDRESS = re.compile(rb"[\w.+-]+@[\w-]+\.[\w.-]*\w")
NUMBER = re.compile(rb"(?<![\w/.-])\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)|\bx-?\d{4,5}\b")


def personal_in(data):
    return {found.lower() for found in [*ADDRESS.findall(data), *NUMBER.findall(data)]}


def everything_under(folder):
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()).lower()


def counts_add_up(counts):
    return counts["seen"] == counts["kept"] + sum(counts["rejected"].values()) + sum(counts["quarantined"].values())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")
@pytest.mark.parametrize(("name", "ingest"), REAL)
def test_real_texts_go_through_and_leave_nothing_personal(tmp_path, capfd, name, ingest):
    source = SHARED / name
    shares = {"source": str(source), "valid_fraction": 0.15, "test_fraction": 0.2}
    room = Room("smart_compose", tmp_path, ingest=shares | ingest, scrub={"max_words": 3_000}, **SMALL).run_all(*DATA)
    counts = read_json(room.reports / "scrubbing.json")
    assert counts_add_up(counts)
    assert counts["kept_fraction"] > 0.7, counts
    known = personal_in(source.read_bytes().replace(b"\\n", b"\n").replace(b"\\t", b"\t"))
    written = everything_under(tmp_path) + "".join(capfd.readouterr()).lower().encode()
    assert [one for one in known if one in written] == []
    if name == "emails.jsonl":
        assert len(known) > 10
        assert counts["placeholders"]["<EMAIL>"] + counts["placeholders"]["<PHONE>"] > 10
        senders = {
            split: {person for one in Records(room.data / "cleaned", split) for person in one.meta["sender"]}
            for split in SPLITS
        }
        assert not senders["train"] & (senders["valid"] | senders["test"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data sets are not beside this checkout")
@pytest.mark.parametrize(("name", "ingest"), REAL)
def test_real_texts_become_a_registered_model_that_mlflow_serves_and_nothing_personal_is_written(
    tmp_path, capfd, monkeypatch, name, ingest
):
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_DEFAULT_ARTIFACT_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    root = commit_room(tmp_path / "project", "smart_compose", "train")
    source = SHARED / name
    shares = {"source": str(source), "valid_fraction": 0.15, "test_fraction": 0.2}
    sections = {"ingest": shares | ingest, "scrub": {"max_words": 3_000}, **SMALL}
    sections["train"] = {"training": TRAINING.model_copy(update={"max_steps": 120})}
    room = small(root, **sections).run_all(*DATA, "tokenizer", *MODEL)
    figures = room.evaluate()
    assert figures["perplexity"] < figures["perplexity_unigram"]
    assert "perplexity_grammar" not in figures  # nobody knows the grammar of real mails
    room.run("register")
    found = version(root, "smart_compose", 1)
    asked = [{"typed": "Please let me know if y"}, {"typed": "write to anna@exam"}, {"typed": ""}]
    with opened(store_of(root)):
        answers = answers_over_mlflow(f"models:/smart_compose/{found.version}", asked)
    here = SmartCompose.load(root / "work/register/served").predict(asked)
    without_time = [{name: value for name, value in one.items() if name != "elapsed_ms"} for one in here]
    assert [{name: value for name, value in one.items() if name != "elapsed_ms"} for one in answers] == without_time
    assert "personal data" in answers[1]["refused"]
    known = personal_in(source.read_bytes().replace(b"\\n", b"\n").replace(b"\\t", b"\t"))
    written = everything_under(root) + "".join(capfd.readouterr()).lower().encode()
    assert [one for one in known if one in written] == []


@pytest.fixture
def box(tmp_path):
    """A mailbox with what mailboxes have in it: sound mails, and each kind of bad one, all with personal data."""
    box = mailbox.mbox(tmp_path / "anna@example.com.mbox")
    for number in range(40):
        made = EmailMessage()
        made["From"], made["To"] = f"Person Number{number} <p{number}@example.com>", "ben@example.com"
        made["Subject"] = f"Call 713-853-{1000 + number}"
        made.set_content(
            f"Hi Ben,\n\nmy number is 713-853-{1000 + number} and the plan has {number} steps.\n\nThanks,\nPerson\n"
        )
        box.add(made)
    for body in (
        "Content-Type: text/plain; charset=x-ben@example.com\n\nHi",
        "Subject: 713-853-9999\n\n",
        "Subject: x\n\n> only quoted by ben@example.com",
        "Subject: x\n\n713-853-8888",
    ):
        box.add(mailbox.mboxMessage(f"From: gone@example.com\n{body}"))
    box.close()
    return tmp_path / "anna@example.com.mbox"


def test_rejected_and_quarantined_mails_are_anonymous_too(tmp_path, box, capfd):
    source = {"source": str(box), "valid_fraction": 0.2, "test_fraction": 0.2, "max_bad_fraction": 0.2}
    room = Room("smart_compose", tmp_path / "room", ingest=source, **SMALL).run_all(*DATA)
    assert [one["reason"] for one in read_jsonl(room.data / "mails/quarantined.jsonl")] == [
        "unknown charset",
        "no body",
    ]
    counts = read_json(room.reports / "scrubbing.json")
    assert counts_add_up(counts)
    assert counts["rejected"] == {"nothing of the writer's own": 2}
    written = everything_under(tmp_path / "room") + "".join(capfd.readouterr()).lower().encode()
    assert [one for one in personal_in(box.read_bytes()) if one in written] == []
    assert b"713-853" not in written


def test_a_refused_source_names_nobody_in_its_message(tmp_path, box):
    with pytest.raises(StageError, match="unusable") as failure:
        Room("smart_compose", tmp_path / "room", ingest={"source": str(box), "max_bad_fraction": 0.0}).run("ingest")
    assert not personal_in(str(failure.value).replace(str(box), "").encode())
    assert not personal_in(everything_under(tmp_path / "room"))


def test_real_mails_are_never_written_as_they_are(tmp_path, box):
    with pytest.raises(UsageError, match="never written"):
        Room("smart_compose", tmp_path / "room", ingest={"source": str(box)}, personal={"keep": True}).run("ingest")
