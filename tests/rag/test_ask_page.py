"""The page to ask on: answers with citations, pictures of pages for their readers alone, votes; and in a real browser."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from components.engines.documents.chunking import Chunk
from components.engines.documents.files import Entry, id_of
from components.engines.index.library import EVERYONE, Library, sync
from components.engines.index.vectors import VectorParams
from components.engines.online.events import Answered, Rated
from components.engines.serving.pipeline import Pipeline
from components.rag.serving.page import create_app, recorder
from tests.engines.index.vectors_of_texts import embed

OPEN, SECRET = "handbook.pdf", "board.pdf"


def jpeg():
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (595, 842), 255).save(buffer, "JPEG", dpi=(72, 72))
    return buffer.getvalue()


class Answering(Pipeline):
    """Answers every question with the first chunk of its library."""

    fields = ("answer", "found", "supported", "citations")

    def __init__(self, library):
        self.library = library

    def read(self, one, chosen):
        return one

    def answer(self, asked, chosen):
        answers = []
        for one in asked:
            hit = self.library.view(one["groups"]).search([one["question"]], 1, "words")[0][0]
            cited = {
                "document": hit.entry.id,
                "name": hit.entry.name,
                "page": hit.chunk.page,
                "boxes": [list(box) for box in hit.chunk.boxes],
                "text": hit.chunk.text,
                "chunk": hit.chunk.id,
            }
            answers.append({"answer": "<b>34 euros</b>", "found": True, "supported": True, "citations": [cited]})
        return answers


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    entries = [
        Entry(id_of(name), name, "pdf", name, 1, readers, name)
        for name, readers in ((OPEN, (EVERYONE,)), (SECRET, ("board",)))
    ]

    def make(entry):
        box = (59.5, 84.2, 297.5, 168.4)
        return [Chunk(f"{entry.id}-0000", entry.id, 1, "text", f"The pump of {entry.name}.", (), (box,))], {1: jpeg()}

    sync(folder, entries, make, embed, VectorParams(kind="flat"), "key")
    return Library(folder, embed)


@pytest.fixture
def told():
    return []


@pytest.fixture
def client(library, told):
    def record(kind, what):
        told.append((kind, what))
        return f"event-{len(told)}"

    return TestClient(create_app(Answering(library), [], record))


def test_an_answer_cites_a_page_whose_picture_its_reader_may_open(client, told):
    answer = client.post("/ask", json={"question": "What of the pump?"}).json()
    (cited,) = answer["citations"]
    assert (answer["id"], cited["name"], cited["size"]) == ("event-1", OPEN, [595.0, 842.0])
    picture = client.get(f"/page/{cited['document']}/{cited['page']}.jpg")
    assert picture.headers["content-type"] == "image/jpeg"
    assert client.post("/vote", json={"id": answer["id"], "good": True}).status_code == 200
    assert [kind for kind, _ in told] == ["answer", "vote"]


def test_nobody_learns_whether_a_page_is_forbidden_or_not_there(client):
    forbidden, absent = (client.get(f"/page/{id_of(name)}/1.jpg") for name in (SECRET, "nothing.pdf"))
    assert forbidden.status_code == absent.status_code == 404
    assert forbidden.json() == absent.json()
    assert client.get("/page/..%2f..%2fetc/1.jpg").status_code == 404


def test_what_is_no_question_or_vote_is_refused(client):
    assert client.post("/ask", content=b"{").status_code == 400
    assert client.post("/ask", content=b"[1]").status_code == 400
    assert client.post("/ask", content=b" " * 20_000).status_code == 413
    assert client.post("/vote", json={"id": "x"}).status_code == 400


def test_answers_and_votes_are_events_without_texts(tmp_path):
    from components.engines.online.recorder import Recorder

    record = recorder(tmp_path, 3)
    answered = record("answer", {"answer": "34 euros", "problem": None, "refused": None})
    voted = record("vote", {"answer": answered, "good": False})
    reader = Recorder.of_project(tmp_path)
    deadline = time.monotonic() + 30
    while reader.find(voted) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (reader.find(answered).type, reader.find(voted).type) == (Answered.type, Rated.type)
    assert reader.find(voted).data == {"system": "rag", "version": 3, "answer": answered, "rating": 0.0}
    assert "34 euros" not in str(reader.find(answered).data)
    reader.close()


@pytest.mark.slow
def test_a_browser_shows_the_answer_as_text_and_marks_the_box(library):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    selenium = pytest.importorskip("selenium", reason="selenium is not installed here")
    if not chromium or not driver:
        pytest.skip("Debian's chromium and chromium-driver are not installed here")
    import uvicorn
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    assert selenium
    server = uvicorn.Server(
        uvicorn.Config(create_app(Answering(library), [], lambda kind, what: "id"), port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    browser = Chrome(options=options, service=Service(str(Path(driver))))
    try:
        browser.implicitly_wait(10)
        browser.get(f"http://127.0.0.1:{port}/")
        browser.find_element(By.ID, "question").send_keys("What of the pump?\n")
        browser.find_element(By.CLASS_NAME, "citation").click()
        assert browser.find_element(By.ID, "answer").text == "<b>34 euros</b>"
        picture, box = browser.find_element(By.TAG_NAME, "img"), browser.find_element(By.CLASS_NAME, "box")
        assert box.rect["x"] - picture.rect["x"] == pytest.approx(0.1 * picture.rect["width"], abs=3)
        assert box.rect["width"] == pytest.approx(0.4 * picture.rect["width"], abs=6)
        browser.find_element(By.ID, "good").click()
    finally:
        browser.quit()
        server.should_exit = True
        thread.join()
