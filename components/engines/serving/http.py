"""The HTTP app: champions of the registry answer, what users did with the answers comes back.

GET /health · GET /v1/models · POST /predict/SYSTEM · POST /v1/completions · POST /v1/chat/completions · POST /feedback
DELETE /users/USER · GET /users/USER/sessions · GET and DELETE /users/USER/sessions/SESSION
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from components.engines.base.errors import GenworksError
from components.engines.online.sessions import Sessions
from components.engines.serving.bodies import Completion, Feedback, Prediction, completed, predicted
from components.engines.serving.champion import Champion
from components.engines.serving.chat import ChatBody, Chats
from components.engines.serving.limits import error_body
from components.engines.serving.service import Asked, Service, status_of

_RETRY = {429: "1", 503: "5"}  # seconds


def create_app(service: Service, chats: Chats) -> FastAPI:
    """The app; while it lives, the service's champions are watched."""
    app = FastAPI(title="genworks", lifespan=_watching(service.champions), docs_url=None, redoc_url=None)
    _add_errors(app)

    @app.get("/health")
    async def health() -> JSONResponse:
        """200 if every champion answers; 503 says no more than that, since nobody needs a token to ask."""
        ready = all(one.process is not None for one in service.champions.values())
        return JSONResponse({"status": "ok" if ready else "not ready"}, 200 if ready else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        recorder = service.recorder
        about_log = {"waiting": recorder.waiting, "lost": recorder.lost}
        return {"object": "list", "data": [_model(one) for one in service.champions.values()], "events": about_log}

    @app.post("/predict/{system}")
    async def predict(system: str, body: Prediction, request: Request) -> Any:
        asked = Asked(system, "predict", body.inputs, body.options, body.user, request.state.request_id)
        if body.stream:
            return await _streamed(request, _events(service, asked))
        return predicted(await _while_there(request, service.predict(asked)))

    @app.post("/v1/completions")
    async def completions(body: Completion, request: Request) -> Any:
        process = await service.champion(body.model).ready()
        return completed(await _while_there(request, service.predict(body.asked(process.facts))))

    @app.post("/feedback")
    async def feedback(body: Feedback) -> dict[str, Any]:
        made = await service.feedback(body.id, body.what, body.user, body.event, body.details)
        return {"event": made.id}

    _add_chat(app, chats)
    _add_users(app, service, chats.sessions)
    return app


def _add_chat(app: FastAPI, chats: Chats) -> None:
    @app.post("/v1/chat/completions")
    async def chat(
        body: ChatBody, request: Request, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> Any:
        asked, session = await chats.begin(body, request.state.request_id, idempotency_key)
        if not body.stream:
            return await _while_there(request, chats.whole(asked, session))
        return await _streamed(request, chats.events(asked, session))


def _add_users(app: FastAPI, service: Service, sessions: Sessions) -> None:
    @app.delete("/users/{user}")
    async def forget(user: str) -> dict[str, Any]:
        return {"events": await service.forget(user), "exchanges": await asyncio.to_thread(sessions.delete, user)}

    @app.get("/users/{user}/sessions")
    def names(user: str) -> dict[str, Any]:
        return {"sessions": sessions.names(user)}

    @app.get("/users/{user}/sessions/{session}")
    def exchanges(
        user: str, session: str, after: int = 0, most: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> dict[str, Any]:
        page = itertools.islice(sessions.read(user, session, after=after), most)
        return {"exchanges": [asdict(one) for one in page]}

    @app.delete("/users/{user}/sessions/{session}")
    def delete(user: str, session: str) -> dict[str, Any]:
        return {"exchanges": sessions.delete(user, session)}


async def _events(service: Service, asked: Asked) -> AsyncGenerator[str]:
    """Pieces of the answer, then the body that is answered without a stream. What fails after the first is an event too."""
    told = False
    try:
        async with aclosing(service.stream(asked)) as stream:
            async for piece in stream:
                said = {"piece": piece} if isinstance(piece, str) else predicted(piece)
                yield f"data: {json.dumps(said)}\n\n"
                told = True
    except GenworksError as error:
        if not told:
            raise
        yield f"data: {json.dumps(error_body(status_of(error), str(error)))}\n\n"
    yield "data: [DONE]\n\n"


async def _streamed(request: Request, events: AsyncGenerator[str]) -> StreamingResponse:
    """Server-sent events; what fails before the first has a status of its own."""
    first = await _while_there(request, anext(events))

    async def all_of_them() -> AsyncGenerator[str]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    return StreamingResponse(all_of_them(), media_type="text/event-stream")


async def _while_there(request: Request, answering: Any) -> Any:
    """The answer, given up where whoever asked goes away: nobody computes for nobody."""
    task = asyncio.ensure_future(answering)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    except asyncio.CancelledError:
        raise HTTPException(499, "Whoever asked went away") from None
    finally:
        watch.cancel()
        task.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _watching(champions: Mapping[str, Champion]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(one.run()) for one in champions.values()]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan


def _model(champion: Champion) -> dict[str, Any]:
    facts = champion.process.facts if champion.process is not None else None
    return {
        "id": champion.system,
        "object": "model",
        "owned_by": "genworks",
        "version": facts and facts.version,
        "fields": facts and facts.fields,
        "options": facts and facts.options,
        "waiting": champion.waiting,
        "problem": champion.problem,
    }


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, why: str) -> JSONResponse:
        headers = {"retry-after": _RETRY[status]} if status in _RETRY else None
        return JSONResponse(error_body(status, why), status, headers)

    @app.exception_handler(GenworksError)
    async def ours(_: Request, error: GenworksError) -> JSONResponse:
        return answer(status_of(error), str(error))

    @app.exception_handler(RequestValidationError)
    async def bad_body(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return answer(400, f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def bad_path(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return answer(500, f"The server failed; its log says more about {request.state.request_id}")
