"""A model's process: what is said to it and by it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.serving import process as module
from components.engines.serving.process import ModelProcess, ProcessGone
from components.engines.tracking.store import Store
from tests.engines.serving import toy_program

STORE = Store(Path(), "sqlite:///t.db", "sqlite:///t.db", None)


@pytest.fixture(autouse=True)
def program(monkeypatch):
    monkeypatch.setattr(module, "program", SimpleNamespace(__file__=toy_program.__file__))


def play(folder, scene):
    """Run a scene with a process that is gone afterwards."""

    async def all_of_it():
        process = await ModelProcess.start(STORE, "toy", 3, folder)
        try:
            await asyncio.wait_for(scene(process), 60)
        finally:
            await process.end(30)
        assert process.gone.is_set()
        assert not [
            one for one in psutil.Process().children(recursive=True) if "toy_program" in " ".join(one.cmdline())
        ]

    asyncio.run(all_of_it())


def inputs(*texts):
    return [{"text": text} for text in texts]


def test_many_ask_at_once_and_each_hears_its_own_answer(tmp_path):
    async def scene(process):
        found = await asyncio.gather(*(process.answer(inputs(f"a{n}", f"b{n}"), {}) for n in range(50)))
        assert found == [[{"output": f"A{n}"}, {"output": f"B{n}"}] for n in range(50)]
        assert (process.waiting, process.silent_s, process.facts.version) == (0, 0.0, 3)
        with pytest.raises(UsageError, match="no option loud"):
            await process.answer(inputs("a"), {"loud": True})
        assert (await process.answer([{"text": 1}], {}))[0]["problem"].startswith("text must be a string")

    play(tmp_path, scene)


def test_streams_are_told_piece_by_piece_beside_each_other_and_stop_when_nobody_listens(tmp_path):
    async def heard(process, text):
        return [one.get("piece") or one["answers"][0]["output"] async for one in process.stream({"text": text}, {})]

    async def scene(process):
        both = await asyncio.gather(heard(process, "one two"), heard(process, "x y z"))
        assert both == [["ONE", "TWO", "ONE TWO"], ["X", "Y", "Z", "X Y Z"]]
        stream = process.stream({"text": "a " * 1000}, {})
        async with contextlib.aclosing(stream):
            await anext(stream)
        assert process.waiting == 0
        started = time.monotonic()
        assert await process.answer(inputs("now"), {}) == [{"output": "NOW"}]
        assert time.monotonic() - started < 20  # of a stream of fifty seconds

    play(tmp_path, scene)


def test_a_process_that_dies_says_so_to_everybody_who_waits(tmp_path):
    async def scene(process):
        asked = [asyncio.create_task(process.answer(inputs(text), {})) for text in ("sleep 0.3", "die", "hello")]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in results[1:]] == [ProcessGone, ProcessGone]
        await process.gone.wait()
        with pytest.raises(ProcessGone):
            await process.answer(inputs("hello"), {})

    play(tmp_path, scene)


def test_one_that_owes_an_answer_counts_its_silence_and_can_be_killed(tmp_path):
    async def scene(process):
        asked = asyncio.create_task(process.answer(inputs("sleep 50"), {}))
        while process.silent_s < 0.2:
            await asyncio.sleep(0.05)
        process.kill()
        with pytest.raises(ProcessGone):
            await asked

    play(tmp_path, scene)


def test_asked_to_end_it_answers_first_and_is_killed_if_it_does_not(tmp_path):
    async def scene(process):
        asked = asyncio.create_task(process.answer(inputs("sleep 0.5"), {}))
        await asyncio.sleep(0.1)
        await process.end(30)
        assert await asked == [{"output": "SLEEP 0.5"}]
        stuck = await ModelProcess.start(STORE, "toy", 4, tmp_path)
        waiting = asyncio.create_task(stuck.answer(inputs("sleep 60"), {}))
        await asyncio.sleep(0.1)
        await stuck.end(0.5)
        with pytest.raises(ProcessGone):
            await waiting

    play(tmp_path, scene)


def test_a_version_that_cannot_be_loaded_says_why(tmp_path, monkeypatch):
    with pytest.raises(
        StageError, match="toy version 9 cannot be loaded: its files are not those that were registered"
    ):
        asyncio.run(ModelProcess.start(STORE, "toy", 9, tmp_path))
    monkeypatch.setattr(module, "LOAD_SECONDS", 0.001)
    with pytest.raises(StageError, match="did not load within"):
        asyncio.run(ModelProcess.start(STORE, "toy", 3, tmp_path))


def test_the_model_sees_neither_the_token_nor_the_database(tmp_path, monkeypatch):
    monkeypatch.setenv("GENWORKS_TOKEN", "secret")
    monkeypatch.setenv("GENWORKS_DATABASE_URL", "postgresql://secret")

    async def scene(process):
        asked = inputs("environment GENWORKS_TOKEN", "environment GENWORKS_DATABASE_URL", "environment PYTHONPATH")
        assert [one["output"] for one in await process.answer(asked, {})] == ["not there"] * 3

    play(tmp_path, scene)


def test_it_ends_when_whoever_started_it_is_killed(tmp_path):
    code = f"""
import asyncio
from pathlib import Path
from types import SimpleNamespace
from components.engines.serving import process as module
from components.engines.tracking.store import Store
module.program = SimpleNamespace(__file__={toy_program.__file__!r})
async def main():
    store = Store(Path(), "sqlite:///t.db", "sqlite:///t.db", None)
    one = await module.ModelProcess.start(store, "toy", 3, Path({str(tmp_path)!r}))
    print(one._process.pid, flush=True)
    await one.answer([{{"text": "sleep 60"}}], {{}})
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    child.wait(timeout=30)
