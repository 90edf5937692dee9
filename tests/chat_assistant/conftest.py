"""One small chat_assistant, trained and measured once for all tests of the room."""

import pytest

from components.chat_assistant.serve import PARTS, ChatAssistant
from components.engines.base.paths import write_json
from components.engines.serving.pipeline import SETTINGS
from tests.chat_assistant.small import ANSWERING, DATA, MODELS, SMALL, small


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    made = small(tmp_path_factory.mktemp("chat_assistant")).run_all(*DATA, *MODELS)
    made.figures = made.evaluate()
    settings = {"architecture": SMALL.model_dump(mode="json"), "answering": ANSWERING.model_dump(mode="json")}
    write_json(made.data / "served" / SETTINGS, settings | {"max_chars": 5_000})
    for name in PARTS:
        (made.data / "served" / name).symlink_to(made.data / name)
    return made


@pytest.fixture(scope="session")
def served(room):
    return ChatAssistant.load(room.data / "served")
