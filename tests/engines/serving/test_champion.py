"""Who answers while versions move, die, hang and break; model processes are doubles, time is short."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.serving import champion as module
from components.engines.serving.champion import Busy, Champion, Limits, TooSlow, Unavailable
from components.engines.serving.process import Facts, ProcessGone
from components.engines.tracking.store import Store

STORE = Store(Path(), "sqlite:///t.db", "sqlite:///t.db", None)


@dataclass
class World:
    """The registry, and the processes that were started; `broken` versions do not load, `loading` is how long that takes."""

    champion: dict[str, Any] | None
    broken: set[int] = field(default_factory=set)
    loading: float = 0.0
    away: bool = False
    started: list[Process] = field(default_factory=list)

    def now(self, root, system):
        if self.away:
            raise StageError("The tracking server cannot be reached")
        return self.champion

    async def start(self, store, system, version, folder):
        await asyncio.sleep(self.loading)
        if version in self.broken:
            raise StageError(f"{system} version {version} cannot be loaded: weights were changed")
        self.started.append(Process(version))
        return self.started[-1]

    def move(self, version):
        self.champion = version and {"version": version, "digest": f"d{version}"}


class Process:
    """Answers after `seconds`; dies at `die` and answers nothing more."""

    def __init__(self, version):
        self.name, self.facts = (
            f"toy version {version}",
            Facts(version, {"text": "string"}, {"output": "string"}, [], True),
        )
        self.gone, self.silent_s, self.ended, self.answered = asyncio.Event(), 0.0, False, 0

    async def answer(self, inputs, options):
        if inputs == ["die"] or self.gone.is_set():
            self.gone.set()
            raise ProcessGone("ended")
        if inputs == ["wrong"]:
            raise UsageError("no such option")
        assert not self.ended
        await asyncio.sleep(options.get("seconds", 0))
        self.answered += 1
        return [{"output": one} for one in inputs]

    async def stream(self, one, options):
        for piece in one.split():
            await asyncio.sleep(options.get("seconds", 0))
            yield {"piece": piece}
        yield {"answers": [{"output": one}]}

    async def end(self, silence_s):
        self.ended = True
        self.gone.set()

    def kill(self):
        self.gone.set()


def play(world, scene, **limits):
    """Run a scene with a champion that follows the world."""

    async def all_of_it():
        one = Champion(STORE, "toy", Path(), Limits(**limits))
        task = asyncio.create_task(one.run())
        try:
            await asyncio.wait_for(scene(one), 60)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert all(process.ended for process in world.started)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "champion_now", world.now)
        patch.setattr(module.ModelProcess, "start", world.start)
        patch.setattr(module, "POLL_SECONDS", 0.01)
        patch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.02)
        asyncio.run(all_of_it())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_a_champion_that_moves_is_followed_and_no_request_is_lost():
    world = World({"version": 1, "digest": "d1"}, loading=0.05)

    async def scene(champion):
        asked = []
        for version in (1, 2, 3, 2):
            world.move(version)
            for _ in range(20):
                asked.append(asyncio.create_task(champion.answer(["hi"], {"seconds": 0.01})))
                await asyncio.sleep(0.005)
        found = [await one for one in asked]
        assert len(found) == 80
        assert {facts.version for facts, _ in found} >= {1, 3}
        await until(lambda: champion.process and champion.process.facts.version == 2)
        assert all(process.ended for process in world.started[:-1])

    play(world, scene, waiting=100)


def test_the_same_number_with_other_bytes_is_loaded_anew():
    world = World({"version": 1, "digest": "d1"})

    async def scene(champion):
        await champion.answer(["hi"], {})
        world.champion = {"version": 1, "digest": "other"}
        await until(lambda: len(world.started) == 2)

    play(world, scene)


def test_what_a_dying_process_had_not_answered_is_asked_of_the_next():
    world = World({"version": 1, "digest": "d1"})

    async def scene(champion):
        await champion.answer(["hi"], {})
        champion.process.gone.set()
        _, answers = await champion.answer(["hi"], {})
        assert answers == [{"output": "hi"}]
        assert len(world.started) == 2
        with pytest.raises(ProcessGone):
            await champion.answer(["die"], {})  # twice
        assert len(world.started) == 3
        assert (await champion.answer(["hi"], {}))[1] == [{"output": "hi"}]

    play(world, scene)


def test_a_process_that_says_nothing_is_ended():
    world = World({"version": 1, "digest": "d1"})

    async def scene(champion):
        await champion.answer(["hi"], {})
        champion.process.silent_s = 99.0
        await until(lambda: len(world.started) == 2)

    play(world, scene, seconds=1.0)


@pytest.mark.parametrize("gone", ["withdrawn", "broken"])
def test_a_version_that_is_no_champion_any_more_answers_nobody(gone):
    world = World({"version": 1, "digest": "d1"}, broken={2})

    async def scene(champion):
        await champion.answer(["hi"], {})
        world.move(None if gone == "withdrawn" else 2)
        await until(lambda: champion.process is None)
        with pytest.raises(Unavailable, match="no champion" if gone == "withdrawn" else "weights were changed"):
            await champion.answer(["hi"], {})
        world.move(3)
        await until(lambda: champion.process)
        assert (await champion.answer(["hi"], {}))[0].version == 3

    play(world, scene)


def test_while_the_registry_is_away_the_last_champion_answers_and_that_is_said():
    world = World({"version": 1, "digest": "d1"})

    async def scene(champion):
        await champion.answer(["hi"], {})
        world.away = True
        await until(lambda: champion.problem)
        assert "cannot be reached" in champion.problem
        assert (await champion.answer(["hi"], {}))[0].version == 1
        world.away = False
        await until(lambda: champion.problem is None)

    play(world, scene)


def test_too_many_and_too_slow_requests_are_refused_and_leave_room_again():
    world = World({"version": 1, "digest": "d1"})

    async def scene(champion):
        with pytest.raises(UsageError, match="no such option"):
            await champion.answer(["wrong"], {})
        slow = [asyncio.create_task(champion.answer(["hi"], {"seconds": 9})) for _ in range(3)]
        await until(lambda: champion.waiting == 3)
        with pytest.raises(Busy, match="3 requests to toy wait already"):
            await champion.answer(["hi"], {})
        for one in slow:
            with pytest.raises(TooSlow, match=r"within 0\.2 s"):
                await one
        assert champion.waiting == 0
        assert (await champion.answer(["hi"], {}))[1] == [{"output": "hi"}]

    play(world, scene, waiting=3, seconds=0.2)


def test_a_stream_may_take_longer_than_its_longest_pause():
    world = World({"version": 1, "digest": "d1"})

    async def scene(champion):
        said = [message async for _, message in champion.stream("a b c d", {"seconds": 0.1})]
        assert [one.get("piece") for one in said] == ["a", "b", "c", "d", None]
        with pytest.raises(TooSlow):
            [message async for _, message in champion.stream("a", {"seconds": 1})]
        assert champion.waiting == 0

    play(world, scene, seconds=0.3)
