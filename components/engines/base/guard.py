"""An ASGI app behind a guard, for servers on the user's machine and beyond.

A page in the user's browser can send requests to 127.0.0.1, under a name of its own too (DNS rebinding), and so can every other
user of the machine. So a request must name this server as its host, come from its own pages or from no page, and carry the login.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.loopback import LOOPBACK

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse = Callable[[Scope, Send, int, str], Awaitable[None]]

TOKEN = "GENWORKS_TOKEN"
SHORTEST_TOKEN = 16  # characters
HEALTH = "/health"  # answers without a login


def hosts(port: int) -> tuple[str, ...]:
    """The names under which a browser on this machine reaches the port."""
    return f"127.0.0.1:{port}", f"localhost:{port}"


def origins(port: int) -> tuple[str, ...]:
    return tuple(f"http://{host}" for host in hosts(port))


def token_for(host: str) -> str | None:
    """The token of the environment that requests must carry, if there is one.

    Raises UsageError where others than this machine's users reach `host` and there is none, and for one that is guessed easily.
    """
    token = os.environ.get(TOKEN) or None
    if token is None and host not in LOOPBACK:
        raise UsageError(
            "Beyond this machine a server answers only to those who have a token",
            where=f"--host {host}",
            do=f"set {TOKEN} (python -c 'import secrets; print(secrets.token_urlsafe())'), or leave --host out",
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(f"The token must be {SHORTEST_TOKEN} or more printable ASCII signs", where=TOKEN)
    return token


class Guard:
    """Answers 403 to a foreign host or origin, 401 without `login`.

    `login` is the whole value of the Authorization header (None: nobody is asked for one here). `port` names the loopback address
    that the server has; None is for one that others reach under names it does not know: there only the pages of the name
    that was asked for may ask. `how` tells who is turned away how to log in.
    """

    def __init__(self, app: App, port: int | None, login: bytes | None, how: str, refuse: Refuse | None = None) -> None:
        self.app, self.login, self.how, self.refuse = app, login, how, refuse or in_plain_text
        self.hosts = None if port is None else set(hosts(port))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # closed before it is accepted: the client sees 403
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.refuse(scope, send, *refused)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        given: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value)
        asked = [host.decode("latin-1").lower() for host in given.get(b"host", [])]
        if len(asked) != 1 or (self.hosts is not None and asked[0] not in self.hosts):
            return 403, "This server answers under its own address only."
        own = asked if self.hosts is None else self.hosts
        schemes = ("http", "https") if self.hosts is None else ("http",)
        pages = {f"{scheme}://{host}" for host in own for scheme in schemes}
        if any(origin.decode("latin-1").lower() not in pages for origin in given.get(b"origin", [])):
            return 403, "Pages of another origin may not use this server."
        if self.login is None or (scope["type"] == "http" and scope["path"] == HEALTH):
            return None
        told = given.get(b"authorization", [])
        if len(told) == 1 and hmac.compare_digest(told[0], self.login):
            return None
        return 401, self.how


async def in_plain_text(scope: Scope, send: Send, status: int, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="genworks"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
