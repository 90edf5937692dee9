"""Edits of params.yaml: the value changes, nothing else does, and nonsense is refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.base.errors import UsageError
from flows import settings as edits
from tests.flows.toy_project import edit

TEXT = """\
# Top comment
demo:
  train: # behind a key
    steps: 100   # how many
    rate: 1.5e-3
    name: 'quoted'   # keep
    flag: true
    none: null
    empty:
    fields: {source: en, target: de}
    list: [1,   2]
    nested:
      a: 1

      # between
      b: two
  other: {x: 1}
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text(TEXT)
    return tmp_path


def apply(root, *words):
    return edits.apply(root, [edits.parse_assignment(word) for word in words])


def changed_lines(root):
    after = (root / "params.yaml").read_text().splitlines()
    return [new for old, new in zip(TEXT.splitlines(), after, strict=True) if old != new]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("demo.train.steps=7", "    steps: 7   # how many"),
        ("demo.train.rate=1", "    rate: 1.0"),
        ("demo.train.rate=2e-4", "    rate: 0.0002"),
        ("demo.train.name=other one", "    name: other one   # keep"),
        ("demo.train.flag=false", "    flag: false"),
        ("demo.train.none=3", "    none: 3"),
        ("demo.train.empty=x", "    empty: x"),
        ("demo.train.steps=null", "    steps: null   # how many"),
        ("demo.train.fields={source: fr, target: de}", "    fields: {source: fr, target: de}"),
        ("demo.train.fields.source=fr", "    fields: {source: fr, target: de}"),
        ("demo.train.list=[3]", "    list: [3]"),
        ("demo.other.x=2", "  other: {x: 2}"),
    ],
)
def test_only_the_value_changes(root, word, line):
    said = apply(root, word)
    assert len(said) == 1
    assert changed_lines(root) == [line]


def test_a_whole_mapping_may_be_replaced(root):
    apply(root, "demo.train.nested={c: 3}")
    document = yaml.safe_load((root / "params.yaml").read_text())
    assert document["demo"]["train"]["nested"] == {"c": 3}
    assert document["demo"]["other"] == {"x": 1}


def test_same_value_changes_nothing(root):
    assert apply(root, "demo.train.steps=100", "demo.train.name=quoted") == []
    assert (root / "params.yaml").read_text() == TEXT


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("demo.train.stps=1", "did you mean demo.train.steps"),
        ("demo.train.steps=1.5", "wants int"),
        ("demo.train.steps=true", "wants int"),
        ("demo.train.flag=1", "wants bool"),
        ("demo.train.list=3", "wants list"),
        ("demo.train.steps", "system.stage.key=value"),
        ("demo.train.steps=[1", "not valid YAML"),
        ("demo.train.steps.deeper=1", "no key"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_written(root, word, said):
    with pytest.raises(UsageError, match=said):
        apply(root, "demo.train.name=changed", word)
    assert (root / "params.yaml").read_text() == TEXT


@settings(max_examples=60, deadline=None)
@given(
    value=st.one_of(
        st.integers(-(10**9), 10**9), st.text("ab:#'\"{}[],&*!|>%@ \t=é", max_size=12), st.booleans(), st.none()
    )
)
def test_any_scalar_survives_the_trip(tmp_path_factory, value):
    root = tmp_path_factory.mktemp("params")
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "params.yaml").write_text(TEXT)
    edits.apply(root, [("demo.train.none", value)])
    document = yaml.safe_load((root / "params.yaml").read_text())
    assert document["demo"]["train"].pop("none") == value
    before = yaml.safe_load(TEXT)
    before["demo"]["train"].pop("none")
    assert document == before


def test_profile_sets_what_its_patterns_match(root):
    folder = root / "infra/profiles"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text('"*.*.steps": 5\n"*.*.nothing": 1\ndemo.other.x: 9\n')
    assert edits.apply(root, edits.profile(root, "small")) == ["demo.train.steps: 100 → 5", "demo.other.x: 1 → 9"]
    (folder / "wrong.yaml").write_text("demo.train.nope: 1\n")
    with pytest.raises(UsageError, match=r"demo\.train\.nope"):
        edits.apply(root, edits.profile(root, "wrong"))
    with pytest.raises(UsageError, match="small"):
        edits.profile(root, "smal")


def test_key_with_a_default_is_added_where_it_belongs(root, monkeypatch):
    known = {"demo.train.workers": "auto", "demo.train.nested.c": 1, "demo.other.y": 0.5, "demo.empty.deep.z": None}
    monkeypatch.setattr(edits, "known_keys", lambda _: known)
    assert apply(root, "demo.train.workers=auto") == []  # the default already
    said = apply(root, "demo.train.nested.c=2", "demo.train.workers=2", "demo.other.y=1", "demo.empty.deep.z=3")
    assert said[:2] == ["demo.train.nested.c: 1 → 2", 'demo.train.workers: "auto" → 2']
    expected = yaml.safe_load(TEXT)
    expected["demo"]["train"]["nested"]["c"] = 2
    expected["demo"]["train"]["workers"] = 2
    expected["demo"]["other"]["y"] = 1.0
    expected["demo"]["empty"] = {"deep": {"z": 3}}
    text = (root / "params.yaml").read_text()
    assert yaml.safe_load(text) == expected
    assert [line for line in TEXT.splitlines() if line not in text.splitlines()] == ["  other: {x: 1}"]


def test_models_of_the_stages_tell_their_keys(toy):
    edit(toy / "components/toy/params.py", "    factor: int\n", "    factor: int\n    extra: float = 0.5\n")
    assert apply(toy, "toy.double.extra=1") == ["toy.double.extra: 0.5 → 1.0"]
    with pytest.raises(UsageError, match=r"did you mean toy\.double\.extra"):
        apply(toy, "toy.double.exrta=1")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("demo.train.name=2024-05-01", "2024-05-01"),
        ("demo.train.name=a red fox #3 of 7", "a red fox #3 of 7"),
        ("demo.train.name=#tag", "#tag"),
        ("demo.train.fields={source: 2024-05-01}", {"source": "2024-05-01"}),
    ],
)
def test_a_value_is_kept_as_it_was_given(root, word, value):
    apply(root, word)
    node = yaml.safe_load((root / "params.yaml").read_text())
    for part in word.split("=")[0].split("."):
        node = node[part]
    assert node == value


@pytest.mark.parametrize("word", ["demo.train.name=!!binary aGk=", "demo.train.rate=.nan", "demo.train.list=[1] # one"])
def test_a_value_that_params_cannot_hold_is_refused(root, word):
    with pytest.raises(UsageError):
        apply(root, word)
    assert (root / "params.yaml").read_text() == TEXT


def test_an_edit_keeps_line_ends_link_and_mode(root, tmp_path, monkeypatch):
    monkeypatch.setattr(edits, "known_keys", lambda _: {"demo.train.workers": 1})
    real = tmp_path / "elsewhere" / "real.yaml"
    real.parent.mkdir()
    (root / "params.yaml").unlink()
    real.write_bytes(TEXT.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    (root / "params.yaml").symlink_to(real)
    apply(root, "demo.train.steps=7", "demo.train.workers=3")
    assert (root / "params.yaml").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    written = real.read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n") == TEXT.count("\n") + 1
    assert b"    steps: 7   # how many\r\n" in written
    assert yaml.safe_load(written)["demo"]["train"]["workers"] == 3
