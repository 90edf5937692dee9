"""The assistant behind `/v1/chat/completions`, asked with OpenAI's own client, whole and streamed, with a session."""

import asyncio

import openai
import pytest

from components.chat_assistant.serve import ChatAssistant
from components.engines.serving.process import Facts
from tests.engines.serving.test_chat import running

ASKED = [{"role": "user", "content": "What is 3 plus 4?"}]


class InThisProcess:
    """A champion without its process: the pipeline itself."""

    system, problem, waiting = "chat_assistant", None, 0

    def __init__(self, pipeline):
        self.pipeline, self.process = pipeline, self
        gives = dict.fromkeys((*ChatAssistant.fields, "refused", "problem"), "string")
        self.facts = Facts(1, {"messages": "any"}, gives, list(ChatAssistant.options), True)
        self.seen = []

    async def run(self):
        await asyncio.Event().wait()

    async def ready(self):
        return self

    async def answer(self, inputs, options):
        self.seen += inputs
        return self.facts, self.pipeline.predict(inputs, **options)

    async def stream(self, one, options):
        self.seen.append(one)
        for said in self.pipeline.stream(one, **options):
            yield self.facts, said if "piece" in said else {"answers": [said]}


@pytest.fixture
def client(served, tmp_path):
    champion = InThisProcess(served)
    with running(champion, tmp_path, "chat_assistant") as (url, _):
        http = openai.DefaultHttpxClient(trust_env=False)
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=http), champion


def ask(client, messages=ASKED, **more):
    return client.chat.completions.create(model="chat_assistant", messages=messages, **more)


def test_whole_and_streamed_answers_are_the_pipelines_own(client, served):
    asked, _ = client
    (own,) = served.predict([{"messages": ASKED}], temperature=0, max_new_tokens=6)
    whole = ask(asked, temperature=0, max_tokens=6)
    assert whole.choices[0].message.content == own["answer"]
    assert whole.choices[0].finish_reason == own["finish_reason"]
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(asked, temperature=0, max_tokens=6, stream=True)]
    assert "".join(pieces).strip() == own["answer"]
    with pytest.raises(openai.BadRequestError, match="best_of"):
        ask(asked, extra_body={"best_of": 0})


def test_a_session_brings_back_what_was_said(client):
    asked, champion = client
    first = ask(asked, user="ann", extra_body={"session": "sums"}).choices[0].message
    ask(asked, [{"role": "user", "content": "And 2 plus 2?"}], user="ann", extra_body={"session": "sums"})
    seen = [one["content"] for one in champion.seen[-1]["messages"]]
    assert seen == [ASKED[0]["content"], first.content or first.refusal, "And 2 plus 2?"]
