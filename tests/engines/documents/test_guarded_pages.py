"""A page that takes too much is given up; the next one is read by a new process."""

import gc
import json
import os
import time
from functools import partial
from multiprocessing.connection import Connection

import pytest

from components.engines.base.errors import BadRecord, Transient
from components.engines.documents.guard import Guarded, PageCaps
from components.engines.documents.parsing import PageMapper, pages_of, without_strangers
from components.engines.documents.reader import Reading
from components.engines.shards.manifest import read_manifest, write_manifest
from components.engines.shards.map_shards import map_shards
from components.engines.shards.writer import ShardWriter


def reader():
    return misbehave


def misbehave(how):
    if how == "slow":
        end = time.process_time() + 60
        while time.process_time() < end:
            pass
    if how == "greedy":
        held = []
        while True:
            held.append(bytearray(os.urandom(1) * 20_000_000))
            time.sleep(0.01)
    if how == "crash":
        os._exit(11)
    if how == "confused":
        raise KeyError("nonsense")
    if how == "bad":
        raise BadRecord("of its own", "detail")
    return f"read {how}"


def test_what_takes_too_much_or_ends_its_reader_has_a_reason_and_the_next_is_read():
    guarded = Guarded(reader, PageCaps(seconds=1, megabytes=400))
    reasons = {}
    for how in ("slow", "greedy", "crash", "confused", "bad"):
        with pytest.raises(BadRecord) as raised:
            guarded(how)
        reasons[how] = raised.value.reason
        assert guarded("well") == "read well"
    guarded.close()
    assert reasons == {
        "slow": "page took too long",
        "greedy": "page took too much memory",
        "crash": "page ended its reader",
        "confused": "page cannot be read",
        "bad": "of its own",
    }


def dies():
    os._exit(9)


def test_a_reader_that_cannot_be_made_is_told_with_its_exit_code():
    with pytest.raises(Transient, match=r"did not start \(exit code 9\)"):
        Guarded(dies, PageCaps())("a page")


def test_a_reader_that_is_collected_ends_its_process_and_closes_its_descriptor_once(monkeypatch):
    """Collected in a cycle, its pipe first: a second close would hit a file that somebody else has opened since."""
    closed = []
    close = Connection._close
    monkeypatch.setattr(Connection, "_close", lambda self: (closed.append(self._handle), close(self)))
    guarded = Guarded(reader, PageCaps())
    gc.freeze()
    assert guarded("well") == "read well"
    gc.collect()
    gc.unfreeze()  # what was made before now stands behind what was made since, and is looked at later
    child, handle = guarded._child, guarded._pipe.fileno()
    closed.clear()
    guarded.itself = guarded
    del guarded
    gc.collect()
    assert not child.is_alive()
    assert closed.count(handle) == 1


def library(folder, texts):
    (folder / "files").mkdir(parents=True)
    shards = []
    for name, text in texts.items():
        (folder / "files" / f"{name}.md").write_text(text)
        with ShardWriter(folder, f"d{name}", 8) as writer:
            asked = {"document": name, "file": f"{name}.md", "digest": text, "kind": "markdown", "number": 1}
            writer.write({"__key__": f"{name}-00001", "json": json.dumps(asked).encode()})
        shards += writer.shards
    write_manifest(folder, shards)


def test_no_page_is_lost_and_only_a_changed_document_is_read_again(tmp_path):
    kept = tmp_path / "kept" / "key"

    def parsed(number, texts):
        src, dst = tmp_path / f"src{number}", tmp_path / f"dst{number}"
        library(src, texts)
        without_strangers(kept, read_manifest(src))
        make = partial(PageMapper, src / "files", Reading(), PageCaps())
        return dst, map_shards(make, src, dst, work=kept, max_bad_fraction=0.6).funnel

    first, funnel = parsed(1, {"aa": "# One\n\nText.", "bb": "x" * 2_000_000})
    assert funnel.as_dict()["quarantined"] == {"line too long": 1}
    assert funnel.seen == funnel.kept + 1 == 2
    assert pages_of(first, "aa")[0][0].text == "One\nText."
    assert pages_of(first, "bb") == []
    before = (kept / "daa-000000.tar").stat().st_mtime_ns
    second, _ = parsed(2, {"aa": "# One\n\nText.", "cc": "# Three"})
    assert (kept / "daa-000000.tar").stat().st_mtime_ns == before
    assert not list(kept.glob("dbb*"))
    assert pages_of(second, "cc")[0][0].text == "Three"
