"""The map in this process: same names, books that add up, exact resume, clear failures."""

import json
import os
import signal
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import webdataset
from toy_shards import Shout, command, text_of, write_toy

from components.engines.base.errors import GenworksError, StageError, UsageError
from components.engines.base.paths import digest_path, read_jsonl
from components.engines.shards import mapped_shard
from components.engines.shards.manifest import read_manifest
from components.engines.shards.map_shards import Rejected, map_shards
from components.engines.shards.reader import ShardReader

BAD = [i for i in range(100) if text_of(i) == "bad"]
NO = [i for i in range(100) if text_of(i) == "no"]


@pytest.fixture
def src(tmp_path):
    write_toy(tmp_path / "src")
    return tmp_path / "src"


@pytest.fixture
def expected(src, tmp_path):
    """Digest of the uninterrupted result."""
    map_shards(Shout, src, tmp_path / "expected", work=tmp_path / "expected-work")
    return digest_path(tmp_path / "expected")


def decoded(log):
    """How often each key was decoded."""
    counts = {}
    for line in log.read_text().splitlines():
        key = line.split()[1]
        counts[key] = counts.get(key, 0) + 1
    return counts


def done(work):
    return {path.name.removesuffix(".done") for path in work.glob("*.done")}


def keys_of(src, shards):
    manifest = read_manifest(src)
    names = [entry.name for entry in manifest.shards for _ in range(entry.samples)]
    return {sample["__key__"] for name, sample in zip(names, ShardReader(src, "train"), strict=True) if name in shards}


def test_each_shard_gives_one_of_the_same_name_in_order(src, tmp_path):
    manifest = map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert manifest == read_manifest(tmp_path / "dst")
    assert [s.name for s in manifest.shards] == [s.name for s in read_manifest(src).shards]
    kept = [i for i in range(100) if i not in BAD and i not in NO]
    result = list(ShardReader(tmp_path / "dst", "train"))
    assert [s["__key__"] for s in result] == [f"s/{i:04d}" for i in kept]
    assert [s["txt"].decode() for s in result] == [text_of(i).upper() for i in kept]
    plain = webdataset.WebDataset([str(p) for p in sorted((tmp_path / "dst").glob("*.tar"))], shardshuffle=False)
    assert [s["txt"] for s in plain] == [s["txt"] for s in result]


def test_the_books_add_up_and_the_refused_are_kept_with_a_reason(src, tmp_path):
    manifest = map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert manifest.funnel.as_dict() == {
        "seen": 100,
        "kept": 100 - len(NO) - len(BAD),
        "rejected": {"unwanted": len(NO)},
        "quarantined": {"toy_bad": len(BAD)},
    }
    rejected, quarantined = (read_jsonl(tmp_path / "dst" / f"{kind}.jsonl") for kind in ("rejected", "quarantined"))
    assert [row["key"] for row in rejected] == [f"s/{i:04d}" for i in NO]
    assert [row["key"] for row in quarantined] == [f"s/{i:04d}" for i in BAD]
    assert quarantined[0] == {
        "key": "s/0003",
        "reason": "toy_bad",
        "detail": "it says so",
        "fields": {"img.bin": {"base64": "A/8D/wP/"}, "txt": "bad"},
    }


def test_batches_are_full_of_decodable_items_and_do_not_cross_shards(src, tmp_path):
    sizes = []

    class Watching(Shout):
        def apply(self, items):
            sizes.append((items[0][0]["__key__"], len(items)))
            return super().apply(items)

    map_shards(partial(Watching, batch_size=4), src, tmp_path / "dst", work=tmp_path / "work")
    assert sizes[:3] == [("s/0000", 4), ("s/0005", 4), ("s/0009", 1)]  # s/0003 is quarantined
    assert sizes[3][0] == "s/0010"


def test_the_mapper_is_loaded_once_and_not_at_all_when_nothing_is_left(src, tmp_path):
    loads = []

    def factory():
        loads.append(1)
        return Shout()

    for expected_loads in (1, 1):
        map_shards(factory, src, tmp_path / "dst", work=tmp_path / "work")
        assert len(loads) == expected_loads


def test_decode_apply_and_write_overlap(src, tmp_path):
    threads, busy, overlaps = set(), {"apply": False}, []

    class Slow(Shout):
        def decode(self, sample):
            threads.add(threading.current_thread().name)
            overlaps.append(busy["apply"])
            return super().decode(sample)

        def apply(self, items):
            assert threading.current_thread() is threading.main_thread()
            busy["apply"] = True
            time.sleep(0.01)
            busy["apply"] = False
            return super().apply(items)

    map_shards(Slow, src, tmp_path / "dst", work=tmp_path / "work")
    assert len(threads) == 1
    assert threads.isdisjoint({threading.main_thread().name})
    assert sum(overlaps) > 50


def test_a_shard_of_which_nothing_is_kept_is_empty_but_there(tmp_path):
    class Strict(Shout):
        def apply(self, items):
            return [Rejected("unwanted", sample) for sample, _ in items]

    write_toy(tmp_path / "src", count=5)
    manifest = map_shards(Strict, tmp_path / "src", tmp_path / "dst", work=tmp_path / "work", max_bad_fraction=0.5)
    assert [s.samples for s in manifest.shards] == [0]
    reader = ShardReader(tmp_path / "dst", "train")
    reader.verify()
    assert list(reader) == []
    assert len(reader) == 0


@pytest.mark.parametrize("fault", ["fail_decode", "fail_apply"])
def test_a_failing_mapper_stops_the_run_naming_shard_and_sample_and_a_rerun_goes_on(src, expected, tmp_path, fault):
    log, work, dst = tmp_path / "log", tmp_path / "work", tmp_path / "dst"
    with pytest.raises(
        StageError, match=r"The mapper failed: .* trips\. Where: shard train-000005\.tar, sample s/0056\."
    ):
        map_shards(partial(Shout, log=str(log), **{fault: "s/0056"}), src, dst, work=work)
    assert not dst.exists()
    assert not list(work.glob("attempts/*"))
    finished = done(work)
    assert finished == {f"train-00000{i}.tar" for i in range(5)}
    log.unlink()
    map_shards(partial(Shout, log=str(log)), src, dst, work=work)
    assert set(decoded(log)) == keys_of(src, {f"train-00000{i}.tar" for i in range(5, 10)})
    assert set(decoded(log).values()) == {1}
    assert digest_path(dst) == expected


def test_errors_in_words_keep_their_words_and_kind(src, tmp_path):
    class Worded(Shout):
        def decode(self, sample):
            raise UsageError("No such language", where="params", do="name another")

    with pytest.raises(
        UsageError, match=r"No such language\. Where: shard .*, sample s/0000, params\. What to do: name another"
    ):
        map_shards(Worded, src, tmp_path / "dst", work=tmp_path / "work")


def test_a_mapper_that_cannot_be_loaded_stops_the_run(src, tmp_path):
    def factory():
        raise OSError("no weights")

    with pytest.raises(StageError, match=r"no weights.*loading the mapper"):
        map_shards(factory, src, tmp_path / "dst", work=tmp_path / "work")
    with pytest.raises(StageError, match="batch_size must be positive"):
        map_shards(partial(Shout, batch_size=0), src, tmp_path / "dst", work=tmp_path / "work")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda answers: answers[:-1], r"3 answers for 4 items.*samples s/0000 to s/0004"),
        (lambda answers: [None, *answers[1:]], r"NoneType for a sample.*sample s/0000"),
        (lambda answers: [answers[0], *answers[:-1]], r"'s/0000' comes twice.*train-000000\.tar"),
        (lambda answers: [{"__key__": "a", "txt": "str"}, *answers[1:]], r"Field 'txt' of sample 'a' is str"),
        (
            lambda answers: [Rejected("odd", {"__key__": "a", "txt": "str"}), *answers[1:]],
            r"TypeError.*train-000000\.tar",
        ),
    ],
)
def test_wrong_answers_are_refused_and_their_shard_is_not_completed(src, tmp_path, answer, message):
    class Wrong(Shout):
        def apply(self, items):
            answers = super().apply(items)
            return answer(answers) if items[0][0]["__key__"] == "s/0000" else answers

    with pytest.raises(StageError, match=message):
        map_shards(Wrong, src, tmp_path / "dst", work=tmp_path / "work")
    assert "train-000000.tar" not in done(tmp_path / "work")
    assert not list(tmp_path.glob("work/attempts/*"))


def test_a_full_disk_completes_nothing_and_a_rerun_gives_the_same(src, expected, tmp_path, monkeypatch):
    write, calls = mapped_shard.MappedShardWriter.write, []

    def failing(self, answer):
        calls.append(1)
        if len(calls) == 30:
            raise OSError(28, "No space left on device", "disk")
        write(self, answer)

    with monkeypatch.context() as patch:
        patch.setattr(mapped_shard.MappedShardWriter, "write", failing)
        with pytest.raises(OSError, match="No space left"):
            map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert len(calls) == 30
    assert done(tmp_path / "work") == {"train-000000.tar", "train-000001.tar", "train-000002.tar"}
    map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert digest_path(tmp_path / "dst") == expected


def test_too_many_unusable_samples_stop_the_run_early(tmp_path):
    class Blind(Shout):
        def decode(self, sample):
            return super().decode({**sample, "txt": b"bad"})

    write_toy(tmp_path / "src")
    log = tmp_path / "log"
    with pytest.raises(StageError, match=r"records are unusable, more than max_bad_fraction 0\.1.*toy_bad"):
        map_shards(partial(Blind, log=str(log)), tmp_path / "src", tmp_path / "dst", work=tmp_path / "work")
    assert len(decoded(log)) < 100
    assert not (tmp_path / "dst").exists()


@pytest.mark.parametrize("damage", ["tar", "json", "rejected", "mark", "cut mark"])
def test_damaged_finished_shards_are_redone(src, expected, tmp_path, damage):
    log, work, dst = tmp_path / "log", tmp_path / "work", tmp_path / "dst"
    map_shards(Shout, src, dst, work=work)
    stem = work / "train-000004"
    victim = {
        "tar": stem.with_suffix(".tar"),
        "json": stem.with_suffix(".json"),
        "rejected": work / "train-000004.rejected.jsonl",
        "mark": work / "train-000004.tar.done",
        "cut mark": work / "train-000004.tar.done",
    }[damage]
    data = victim.read_bytes()
    victim.unlink()
    if damage != "mark":
        victim.write_bytes(data[: len(data) // 2])
    map_shards(partial(Shout, log=str(log)), src, dst, work=work)
    assert set(decoded(log)) == keys_of(src, {"train-000004.tar"})
    assert digest_path(dst) == expected


def test_finished_shards_of_another_input_are_not_used(src, tmp_path):
    work = tmp_path / "work"
    map_shards(Shout, src, tmp_path / "dst", work=work)
    write_toy(tmp_path / "other", count=95, per_shard=10)  # only its last shard differs
    log = tmp_path / "log"
    map_shards(partial(Shout, log=str(log)), tmp_path / "other", tmp_path / "dst", work=work)
    assert set(decoded(log)) == {f"s/{i:04d}" for i in range(90, 95)}
    assert len(ShardReader(tmp_path / "dst", "train")) == read_manifest(tmp_path / "dst").funnel.kept


def test_what_is_no_earlier_map_is_not_overwritten(src, tmp_path):
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "thesis.txt").write_text("dear")
    with pytest.raises(StageError, match="taken by something else"):
        map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert (tmp_path / "dst" / "thesis.txt").read_text() == "dear"
    with pytest.raises(UsageError, match="workers"):
        map_shards(Shout, src, tmp_path / "new", work=tmp_path / "work", workers=-1)


def test_a_truncated_input_is_refused_before_anything_runs(src, tmp_path):
    path = src / "train-000003.tar"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(GenworksError, match=r"truncated.*train-000003\.tar"):
        map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert not (tmp_path / "dst").exists()


def test_the_result_holds_where_hard_links_do_not(src, expected, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    assert digest_path(tmp_path / "dst") == expected


@pytest.mark.parametrize("wanted", [0, 2, 7])
def test_kill_at_a_random_moment_and_rerun_gives_the_same_bytes(src, expected, tmp_path, wanted):
    log, work, dst = tmp_path / "log", tmp_path / "work", tmp_path / "dst"
    process = subprocess.Popen(command(src, dst, work, 0, Shout(log=str(log), seconds=0.01)))
    while len(done(work)) < wanted or not log.exists():
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = done(work)
    log.unlink()
    subprocess.run(command(src, dst, work, 0, Shout(log=str(log))), check=True)
    assert digest_path(dst) == expected
    counts = decoded(log)
    assert set(counts) == keys_of(src, {s.name for s in read_manifest(src).shards} - finished)
    assert set(counts.values()) == {1}


def test_nothing_in_the_output_tells_where_or_when_it_was_made(src, tmp_path):
    map_shards(Shout, src, tmp_path / "dst", work=tmp_path / "work")
    document = json.loads((tmp_path / "dst" / "manifest.json").read_text())
    assert sorted(document) == ["funnel", "schema", "shards", "splits", "version"]
    assert {Path(p).suffix for p in (tmp_path / "dst").iterdir()} == {".tar", ".json", ".jsonl"}
    assert str(tmp_path) not in json.dumps(document)
