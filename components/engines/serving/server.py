"""`python -m components.engines.serving.server SYSTEM …`: the HTTP app on a port of its own, until SIGTERM.

`genworks serve` starts it.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from components.engines.base.errors import GenworksError
from components.engines.base.guard import Guard, token_for
from components.engines.base.loopback import LOOPBACK
from components.engines.base.paths import project_root
from components.engines.online.recorder import Recorder
from components.engines.online.sessions import Sessions
from components.engines.serving.champion import Champion, Limits
from components.engines.serving.chat import Chats
from components.engines.serving.http import create_app
from components.engines.serving.limits import Limited, refuse
from components.engines.serving.service import Service, scrubbed
from components.engines.tracking.scratch import scratch
from components.engines.tracking.store import store_of

GOODBYE_SECONDS = 5  # for requests that are being answered when the server is told to end
CONNECTIONS = 1000
HOW = "Send the header `Authorization: Bearer TOKEN`, with the token that the server has in GENWORKS_TOKEN."


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("systems", nargs="+", metavar="SYSTEM")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--body-mb", type=float, default=8.0, help="largest body of a request")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="longest wait for an answer, or the next piece of one"
    )
    parser.add_argument("--waiting", type=int, default=32, help="requests to one system at once")
    parser.add_argument("--keep-texts", action="store_true", help="keep texts in the event log, personal data replaced")
    options = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM):  # uvicorn ends in order, and then lets the signal through
        signal.signal(sign, _end)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        return _serve(options, project_root())
    except GenworksError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _serve(options: argparse.Namespace, root: Path) -> int:
    import uvicorn

    token, store = token_for(options.host), store_of(root)
    recorder = Recorder.of_project(root)
    try:
        with scratch(root, "serve") as folder:
            limits = Limits(options.waiting, options.seconds)
            champions = {name: Champion(store, name, folder, limits) for name in options.systems}
            service = Service(champions, recorder, scrubbed if options.keep_texts else None)
            app = create_app(service, Chats(service, Sessions(recorder.events.database)))
            limited = Limited(app, int(options.body_mb * 2**20), body_s=min(options.seconds, 30.0))
            login = None if token is None else f"Bearer {token}".encode()
            guarded = Guard(limited, options.port if options.host in LOOPBACK else None, login, HOW, refuse)
            uvicorn.run(
                guarded,
                host=options.host,
                port=options.port,
                log_level="warning",
                lifespan="on",
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=GOODBYE_SECONDS,
            )
    finally:
        recorder.close()
    return 0


def _end(*_: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
