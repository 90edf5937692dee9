"""A page to ask on: question, answer, citations that open the page's picture with the box marked, and a vote.

    python -m components.rag.serving.page --groups board

serves what the pipeline has made (`genworks run rag`), to this machine alone and for members of the groups that are named. Votes
go to the event log.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from components.engines.base.paths import project_root
from components.rag.serve import ENCODER, GENERATOR, LIBRARY, Assistant

PAGE = Path(__file__).with_name("page.html")
_MAX_BODY = 10_000
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

Record = Callable[[str, dict[str, Any]], str]  # (kind, what) -> the id of the event


def create_app(assistant: Assistant, groups: Sequence[str], record: Record) -> FastAPI:
    """`record` is told of `answer` and `vote`; everything is asked and shown as a member of `groups`."""
    app = FastAPI(title="rag", docs_url=None, redoc_url=None, openapi_url=None)
    html = PAGE.read_text(encoding="utf-8")

    async def body_of(request: Request) -> dict[str, Any]:
        if int(request.headers.get("content-length") or _MAX_BODY + 1) > _MAX_BODY:
            raise HTTPException(413, f"at most {_MAX_BODY} bytes")
        try:
            body = await request.json()
        except ValueError:
            raise HTTPException(400, "no JSON") from None
        if not isinstance(body, dict):
            raise HTTPException(400, "no JSON object")
        return body

    @app.get("/", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return HTMLResponse(html, headers=_HEADERS)

    @app.post("/ask")
    async def ask(request: Request) -> dict[str, Any]:
        body = await body_of(request)
        (answer,) = assistant.predict([{"question": body.get("question"), "groups": list(groups)}])
        cited = [{**one, "size": size_of(one["document"], one["page"])} for one in answer["citations"] or []]
        return {**answer, "citations": cited, "id": record("answer", answer)}

    def size_of(document: str, number: int) -> list[float] | None:
        """Width and height of a page in points, from its picture."""
        from PIL import Image

        data = assistant.library.picture(document, number, groups)
        if data is None:
            return None
        with Image.open(io.BytesIO(data)) as image:
            dpi = float(image.info.get("dpi", (72, 72))[0])
            return [image.width * 72 / dpi, image.height * 72 / dpi]

    @app.get("/page/{document}/{number}.jpg")
    def picture(document: str, number: int) -> Response:
        data = assistant.library.picture(document, number, groups)
        if data is None:  # nobody learns whether it is forbidden or not there
            raise HTTPException(404, "no such page")
        return Response(data, media_type="image/jpeg", headers=_HEADERS)

    @app.post("/vote")
    async def vote(request: Request) -> dict[str, str]:
        body = await body_of(request)
        if not isinstance(body.get("id"), str) or not isinstance(body.get("good"), bool):
            raise HTTPException(400, "a vote has `id` and `good`")
        return {"id": record("vote", {"answer": body["id"], "good": body["good"]})}

    return app


def recorder(root: Path, version: int) -> Record:
    """Answers and votes as events of the project's log; texts are not kept."""
    from components.engines.online.events import Answered, Rated, Requested, event
    from components.engines.online.recorder import Recorder

    log = Recorder.of_project(root)

    def record(kind: str, what: dict[str, Any]) -> str:
        told = {"system": "rag", "version": version}
        if kind == "vote":
            made = event(Rated(**told, answer=what["answer"], rating=float(what["good"])))
            log.add(made)
            return made.id
        asked = event(Requested(system="rag", endpoint="/ask", inputs=1, characters=0))
        outcome = "problem" if what["problem"] else "refused" if what["refused"] else "answered"
        length = len(what["answer"] or "")
        made = event(Answered(**told, request=asked.id, place=0, milliseconds=0, characters=length, outcome=outcome))
        log.add(asked, made)
        return made.id

    return record


def main() -> None:
    import uvicorn

    from components.engines.base.params import load_section
    from components.engines.index.library import Library
    from components.engines.nn.checkpoints import load_tokenizer
    from components.engines.nn.device import own_device
    from components.engines.tracking.versions import Receipt
    from components.rag.architecture import Architecture, Serving, settings_of
    from components.rag.networks import generator
    from components.rag.networks.encoder import Embedder

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--groups", default="", help="groups of readers, by commas")
    parser.add_argument("--port", type=int, default=8700)
    options = parser.parse_args()
    root = project_root()
    made, params = root / "data" / "rag", root / "params.yaml"
    serving, shape = (
        load_section(Serving, "rag.serving", params),
        load_section(Architecture, "rag.architecture", params),
    )
    embedder = Embedder.load(made / ENCODER, shape.encoder.max_tokens)
    embedder.network.to(own_device())
    network = generator.load(made / GENERATOR).to(own_device())
    library = Library(made / LIBRARY, embedder)
    assistant = Assistant(library, network, load_tokenizer(made / GENERATOR), settings_of(serving, shape))
    version = Receipt.read(made / "receipt.json").version
    groups = [name.strip() for name in options.groups.split(",") if name.strip()]
    uvicorn.run(create_app(assistant, groups, recorder(root, version)), host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
