"""`python -m components.engines.serving.talk SYSTEM --session NAME`: a conversation in the terminal, kept as the server keeps it.

Lines of stdin are what the user says; answers are written as they are made. `genworks predict SYSTEM --session NAME` starts it.
The session goes on where it ended, here or over HTTP; `--delete` removes it, from the files too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from components.engines.base.errors import GenworksError, StageError
from components.engines.base.paths import project_root
from components.engines.online.events import new_id
from components.engines.online.recorder import Recorder
from components.engines.online.sessions import LONGEST_NAME, Sessions
from components.engines.serving.champion import Champion, Limits
from components.engines.serving.chat import ChatBody, Chats
from components.engines.serving.conversation import Message
from components.engines.serving.service import Service
from components.engines.tracking.scratch import scratch
from components.engines.tracking.store import store_of


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument("--session", required=True, metavar="NAME")
    parser.add_argument("--user", required=True, metavar="NAME", help="whose session it is")
    parser.add_argument("--delete", action="store_true", help="remove the session and end")
    options = parser.parse_args()
    try:
        if not 0 < len(options.session) <= LONGEST_NAME:
            parser.error(f"a session's name has 1 to {LONGEST_NAME} characters")
        return _main(options, project_root())
    except GenworksError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _main(options: argparse.Namespace, root: Path) -> int:
    recorder = Recorder.of_project(root)
    try:
        sessions = Sessions(recorder.events.database)
        if options.delete:
            print(f"{sessions.delete(options.user, options.session)} exchanges deleted")
            return 0
        with scratch(root, "talk") as folder:
            champion = Champion(store_of(root), options.system, folder, Limits())
            chats = Chats(Service({options.system: champion}, recorder), sessions)
            with contextlib.suppress(KeyboardInterrupt):  # the way a conversation ends
                asyncio.run(_talk(champion, chats, options))
    finally:
        recorder.close()
    return 0


async def _talk(champion: Champion, chats: Chats, options: argparse.Namespace) -> None:
    watching = asyncio.create_task(champion.run())
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip():
                async for piece in said(chats, options.system, options.user, options.session, line.strip()):
                    print(piece, end="", flush=True)
                print(flush=True)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def said(chats: Chats, system: str, user: str, session: str, question: str) -> AsyncIterator[str]:
    """Pieces of the answer, or of the words it is refused with; the exchange is in the session when the last one is there."""
    body = ChatBody(model=system, messages=[Message(role="user", content=question)], user=user, session=session)
    asked, kept = await chats.begin(body, new_id("req"), None)
    async for event in chats.events(asked, kept):
        told = event.removeprefix("data: ").strip()
        if told == "[DONE]":
            return
        answer = json.loads(told)
        if "error" in answer:
            raise StageError(answer["error"]["message"])
        delta = answer["choices"][0]["delta"]
        yield delta.get("content") or delta.get("refusal") or ""


if __name__ == "__main__":
    sys.exit(main())
