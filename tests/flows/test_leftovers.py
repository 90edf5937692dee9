"""What a killed DVC leaves: dvc.lock cut anywhere is noticed, nothing is overwritten without a copy, dead owners wait nobody."""

import json
import subprocess
import sys
import time

import pytest
import yaml

from components.engines.base.errors import UsageError
from flows import dag, leftovers
from flows.dvc_lock import KEPT, keep_lock_file, mend_lock_file, problem_of
from tests.flows.toy_project import dvc, edit, make_toy_project


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The toy after a first run, and its dvc.lock after a second one with another param: (root, kept, next)."""
    root = make_toy_project(tmp_path_factory.mktemp("finished") / "toy")
    dvc(root, "repro", "toy-make", "toy-double", "toy-square")
    keep_lock_file(root)
    before = (root / "dvc.lock").read_bytes()
    edit(root / "params.yaml", "factor: 2", "factor: 3")
    dvc(root, "repro")
    return root, before, (root / "dvc.lock").read_bytes()


@pytest.fixture
def toy(finished):
    root, before, _ = finished
    (root / KEPT).write_bytes(before)
    (root / "dvc.lock").write_bytes(before)
    for backup in (root / ".work").glob("dvc.lock.*"):
        if backup != root / KEPT:
            backup.unlink()
    return root


def test_a_cut_at_any_byte_is_noticed(toy, finished):
    """DVC was killed while it wrote the next file: a changed stage and a new one at its end."""
    _, before, after = finished
    assert len(after) > len(before) > 1000
    cuts = [
        cut for cut in range(len(after)) if after[:cut].endswith(b"\n") or cut % 11 == 0
    ]  # every line's end is there
    unnoticed = [cut for cut in cuts if after[:cut] != before and not problem_of(toy, after[:cut])]
    # Cut right before the new stage's entry, it is whole: every stage that it records did end so.
    entry = after.index(b"  toy-join:")
    assert unnoticed == [entry]
    assert problem_of(toy, after) == ""


def test_so_is_one_where_nothing_was_kept_but_git_has_a_file(toy, finished):
    _, before, after = finished
    (toy / KEPT).unlink()
    subprocess.run(["git", "add", "-f", "dvc.lock"], cwd=toy, check=True)
    try:
        for cut in range(0, len(after), 31):
            assert problem_of(toy, after[:cut]) or cut == after.index(b"  toy-join:") or after[:cut] == before
        (toy / "dvc.lock").write_bytes(after[: len(after) // 2])
        assert "as it was committed" in mend_lock_file(toy)[0]
        assert (toy / "dvc.lock").read_bytes() == before
    finally:
        subprocess.run(["git", "rm", "-q", "--cached", "dvc.lock"], cwd=toy, check=True)


def test_the_kept_file_is_put_back_the_cut_one_is_kept_beside_and_both_are_said(toy, finished):
    _, before, after = finished
    cut = after[: after.rindex(b"    outs:\n")]
    (toy / "dvc.lock").write_bytes(cut)
    assert isinstance(yaml.safe_load(cut)["stages"]["toy-join"], dict)  # it parses
    (said,) = leftovers.mend(toy)
    assert "cut short by a killed run (in toy-join: outs)" in said
    assert ".work/dvc.lock.damaged" in said
    assert (toy / "dvc.lock").read_bytes() == before
    assert (toy / ".work/dvc.lock.damaged").read_bytes() == cut
    assert leftovers.mend(toy) == []


def test_whole_files_pass_whoever_wrote_them(toy, finished):
    """A stage run by hand, a stage taken out of dvc.yaml and dvc.lock, an older commit checked out."""
    _, _, after = finished
    document = yaml.safe_load(after)
    assert problem_of(toy, after) == ""
    del document["stages"]["toy-double"]
    assert problem_of(toy, yaml.safe_dump(document, sort_keys=False).encode()) == ""
    first = {name: document["stages"][name] for name in ("code", "toy-make")}
    older = yaml.safe_dump({"schema": "2.0", "stages": first}, sort_keys=False).encode()
    assert "from toy-double on" in problem_of(toy, older)
    (toy / "dvc.lock").write_bytes(older)
    subprocess.run(["git", "add", "-f", "dvc.lock"], cwd=toy, check=True)
    try:
        assert problem_of(toy, older) == ""
    finally:
        subprocess.run(["git", "rm", "-q", "--cached", "dvc.lock"], cwd=toy, check=True)


CONFLICTS = b"<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.0'\n>>>>>>> theirs\n"


def test_merge_conflicts_are_backed_up_and_said_before_anything_is_written(toy):
    for number, rest in enumerate((b"", b"stages: {}\n"), start=1):
        (toy / "dvc.lock").write_bytes(CONFLICTS + rest)
        with pytest.raises(UsageError, match=r"dvc\.lock.*genworks run"):
            dag.plan(toy, ["toy"])
        (said,) = leftovers.mend(toy)
        name = ".work/dvc.lock.conflict" + (f".{number}" if number > 1 else "")
        assert "conflicts of a merge" in said
        assert said.endswith(name)
        assert (toy / name).read_bytes() == CONFLICTS + rest
        assert (toy / "dvc.lock").read_bytes() == (toy / KEPT).read_bytes()


def test_merge_conflicts_without_an_earlier_file_are_refused_and_left_as_they_are(toy):
    (toy / KEPT).unlink()
    (toy / "dvc.lock").write_bytes(CONFLICTS)
    with pytest.raises(UsageError, match=r"conflicts of a merge.*git checkout --ours"):
        leftovers.mend(toy)
    assert (toy / "dvc.lock").read_bytes() == CONFLICTS


def table(root, **entries):
    path = root / leftovers.LOCK_TABLE
    path.write_text(json.dumps({"read": {}, "write": {f"/{name}": entry for name, entry in entries.items()}}))
    return path


@pytest.fixture
def stranger():
    """A living process that is no DVC."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "toy-double"])
    yield process
    process.kill()
    process.wait()


def test_locks_of_processes_that_are_gone_are_freed_also_where_their_number_lives_on(toy, stranger):
    alive = {"pid": stranger.pid, "cmd": "/usr/bin/dvc repro --single-item toy-double"}
    reused = {"pid": stranger.pid, "cmd": "/usr/bin/dvc repro --single-item toy-square"}
    dead = {"pid": 2**22 - 1, "cmd": "dvc repro"}
    path = table(toy, double=alive, square=reused, join=dead)
    assert leftovers.gone_lockers(toy) == ", ".join(sorted([str(stranger.pid), str(dead["pid"])]))
    said = leftovers.mend(toy)
    assert len(said) == 2
    assert all("is gone" in line for line in said)
    assert json.loads(path.read_text())["write"] == {"/double": alive}
    assert leftovers.mend(toy) == []


def test_a_process_younger_than_the_table_never_wrote_it(toy, stranger):
    """In a container the same command may have the same number after a restart."""
    import os

    path = table(toy, double={"pid": stranger.pid, "cmd": "dvc repro --single-item toy-double"})
    before = time.time() - 60
    os.utime(path, (before, before))
    assert leftovers.gone_lockers(toy) == str(stranger.pid)


def test_a_run_does_not_wait_for_a_reused_number(toy, stranger, monkeypatch):
    from flows.child import Children
    from flows.execute import run_stage

    doubled = str((toy / "data/toy/doubled.json").resolve())
    (toy / leftovers.LOCK_TABLE).write_text(
        json.dumps({"read": {}, "write": {doubled: {"pid": stranger.pid, "cmd": "dvc repro --single-item other"}}})
    )
    lines: list[str] = []
    run_stage(toy, "toy-double", children=Children(), say=lines.append, force=True)
    assert any("is gone (dvc repro --single-item other" in line for line in lines)
