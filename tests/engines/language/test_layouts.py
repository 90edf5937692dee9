"""Real layouts are recognised by their keys; what is no conversation is refused with its reason."""

import pytest

from components.engines.base.errors import BadRecord
from components.engines.language.dialogues import messages_of
from components.engines.language.layouts import conversation_of, preference_of, text_in

ASKED = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": ASKED}, ["a", "b"]),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, ["a", "b"]),
        ({"instruction": "a", "input": "", "output": "b"}, ["a", "b"]),
        ({"instruction": "a", "input": "x", "output": "b"}, ["a\n\nx", "b"]),
        ({"instruction": "a", "instances": [{"input": "x", "output": "b"}]}, ["a\n\nx", "b"]),
        ({"question": "a", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"}, ["a", "2 + 2 = 4\n#### 4"]),
        ({"prompt": "a", "response": "b"}, ["a", "b"]),
        ({"messages": [{"role": "system", "content": "s"}, *ASKED, {"role": "user", "content": "c"}]}, ["s", "a", "b"]),
    ],
)
def test_conversations(row, said):
    found = conversation_of(row)
    assert [one["content"] for one in found.messages] == said
    assert messages_of(found.texts()) == found.messages


def turns(*roles):
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"something": 1}, "no known layout"),
        ({"messages": []}, "no message"),
        (turns("system"), "system only"),
        (turns("assistant", "user"), "wrong role order"),
        (turns("user", "user", "assistant"), "wrong role order"),
        (turns("user", "system", "assistant"), "wrong role order"),
        (turns("system", "system", "user", "assistant"), "wrong role order"),
        (turns("user"), "wrong role order"),
        (turns("user", "tool", "assistant"), "tool call"),
        (turns("user", "narrator"), "unknown role"),
        ({"messages": ["hello"]}, "no message"),
        ({"messages": [ASKED[0], {"role": "assistant", "content": None, "tool_calls": [{}]}]}, "tool call"),
        ({"messages": [ASKED[0], {"role": "assistant", "content": 5}]}, "no text"),
        ({"messages": [ASKED[0], {"role": "assistant", "content": [{"type": "text"}]}]}, "no text"),
        ({"messages": [ASKED[0], {"role": "assistant", "content": " \n"}]}, "empty turn"),
        ({"instruction": "a", "output": None}, "no text"),
    ],
)
def test_what_is_no_conversation_is_refused(row, reason):
    with pytest.raises(BadRecord) as refused:
        conversation_of(row)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"question": "a", "chosen": "b", "rejected": "c"},
        {"instruction": "a", "input": "", "output": "z", "chosen": "b", "rejected": "c"},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"chosen": ASKED, "rejected": [ASKED[0], {"role": "assistant", "content": "c"}]},
        {"prompt": ASKED[:1], "chosen": ASKED[1:], "rejected": [{"role": "assistant", "content": "c"}]},
    ],
)
def test_preferences(row):
    found = preference_of(row | {"margin": 2})
    assert found.messages == ASKED[:1]
    assert found.answers == ("b", "c")
    assert found.margin == 2.0
    assert preference_of(row).margin is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "chosen": "b"}, "no known layout"),
        ({"chosen": "b", "rejected": "c"}, "no known layout"),
        ({"prompt": "a", "chosen": "b", "rejected": " b "}, "chosen equals rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "empty turn"),
        ({"prompt": "a", "chosen": "b", "rejected": 3}, "no text"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "margin": -1}, "bad margin"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "margin": float("nan")}, "bad margin"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: z\n\nAssistant: c"},
            "dialogues part early",
        ),
    ],
)
def test_what_is_no_preference_is_refused(row, reason):
    with pytest.raises(BadRecord) as refused:
        preference_of(row)
    assert refused.value.reason == reason


def test_texts_are_texts_or_all_that_is_said():
    assert text_in({"text": "a"}) == "a"
    assert text_in({"messages": ASKED}) == "a\nb"
