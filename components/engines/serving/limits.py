"""What an ASGI app is spared: bodies too large or too slow. Every response gets the id of its request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from components.engines.base.guard import App, Receive, Scope, Send
from components.engines.online.events import new_id

_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_KINDS |= {408: "timeout_error", 413: "invalid_request_error", 429: "rate_limit_error", 504: "timeout_error"}
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def error_body(status: int, why: str) -> dict[str, Any]:
    """An error as OpenAI's API has it, so that its clients show it."""
    return {"error": {"message": why, "type": _KINDS.get(status, "server_error"), "param": None, "code": status}}


async def refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    """Answer with an error; the connection ends, since the rest of a body may still be coming."""
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *_HEADERS]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(error_body(status, why)).encode()})


class Limited:
    """Reads a request's whole body before the app sees it: 413 beyond `body_bytes`, 408 after `body_s`."""

    def __init__(self, app: App, body_bytes: int, body_s: float) -> None:
        self.app, self.body_bytes, self.body_s = app, body_bytes, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        id = scope.setdefault("state", {})["request_id"] = new_id("req")

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-request-id", id.encode()), *_HEADERS]}
            await send(message)

        try:
            async with asyncio.timeout(self.body_s):
                body = await self._body(scope, receive)
        except TimeoutError:
            await refuse(scope, send, 408, f"The request's body did not arrive within {self.body_s:g} s.")
            return
        if body is None:
            await refuse(scope, send, 413, f"The request's body is larger than {self.body_bytes} bytes.")
            return
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receiving() -> Any:
            return unread.pop() if unread else await receive()

        await self.app(scope, receiving, sending)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, None if it is too large; of a client that went away, what came."""
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if not told.isdigit() or int(told) > self.body_bytes:
            return None
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self.body_bytes:
                return None
            if not message.get("more_body", False):
                return body
