# ruff: noqa: E501 - a case a line
"""What a stage reaches: every definition that its names lead to, all of a module where that cannot be seen, nothing else."""

from __future__ import annotations

import json

import pytest

from components.engines.base import codebase
from components.engines.base.codebase import Codebase
from components.engines.base.errors import UsageError

STAGE = "components.demo.train"
MAIN = "\n\nif __name__ == '__main__':\n    train()\n"
PARTS = "def used():\n    return 1\n\n\ndef other():\n    return 2\n"


def write(root, files):
    for name, text in {"components/__init__.py": "", "components/demo/__init__.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def key(root):
    stage = Codebase(root).stages([STAGE])[STAGE]
    return {name: stage[name] for name in ("modules", "files", "libraries")}


def body(text, head=""):
    return f"{head}def train():\n    {text}{MAIN}"


# name -> (the stage's module, another module, what is edited there, whether the stage sees it)
CASES = {
    "a function that is called": (body("return used()", "from components.demo.parts import used\n"), PARTS, "1", True),
    "its neighbour": (body("return used()", "from components.demo.parts import used\n"), PARTS, "2", False),
    "through the module": (body("return p.used()", "from components.demo import parts as p\n"), PARTS, "1", True),
    "its neighbour there": (body("return p.used()", "from components.demo import parts as p\n"), PARTS, "2", False),
    "through a dotted import": (body("return components.demo.parts.used()", "import components.demo.parts\n"), PARTS, "1", True),
    "imported inside": (body("from .parts import used as u; return u()"), PARTS, "1", True),
    "its neighbour inside": (body("from .parts import used as u; return u()"), PARTS, "2", False),
    "a name that is local here": (body("other = 3; return other", "from components.demo.parts import other\n"), PARTS, "2", False),
    "a comprehension's own name": (
        body("return [other for other in (1,)], other()", "from components.demo.parts import other\n"), PARTS, "2", True,
    ),
    "a module by getattr": (body("return getattr(p, 'us' + 'ed')()", "from components.demo import parts as p\n"), PARTS, "2", True),
    "with a star": (body("return used()", "from components.demo.parts import *\n"), PARTS, "2", True),
    "a module named by a string": (body("return __import__('importlib').import_module('components.demo.parts')"), PARTS, "2", True),
    "a definition named by a string": (body("return 'components.demo.parts:used'"), PARTS, "1", True),
    "its neighbour by a string": (body("return 'components.demo.parts:used'"), PARTS, "2", False),
    "for type checkers only": (
        body("return 0", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from components.demo.parts import used\n"),
        PARTS, "1", False,
    ),
    "in an annotation": ("from components.demo.parts import used\n\n\ndef step(x: used):\n    return x\n\n\n" + body("return step(0)"),
        PARTS, "1", False),
    "in the stage's own annotation": ("from components.demo.parts import used\n\n\ndef train(x: used = 0):\n    return x\n" + MAIN,
        PARTS, "1", True),
    "a base's method": (
        body("return Mine().run()", "from components.demo.parts import Base\n\n\nclass Mine(Base):\n    pass\n\n\n"),
        "class Base:\n    def run(self):\n        return helper()\n\n\ndef helper():\n    return 1\n", "1", True,
    ),
    "a constant that is used": (body("return p.A", "from components.demo import parts as p\n"), "A = 1\nB = 2\n", "1", True),
    "a constant beside it": (body("return p.A", "from components.demo import parts as p\n"), "A = 1\nB = 2\n", "2", False),
    "what loading does": (body("return 0", "import components.demo.parts\n"), "import os\n\nos.environ['A'] = '1'\n", "1", True),
    "a registry by decorator": (
        body("return p.ALL", "from components.demo import parts as p\n"),
        "ALL = []\n\n\ndef add(f):\n    ALL.append(f)\n    return f\n\n\n@add\ndef mine():\n    return 1\n", "1", True,
    ),
    "a registry by subclass": (
        body("return p.Base.all", "from components.demo import parts as p\n"),
        "class Base:\n    all = []\n\n    def __init_subclass__(cls):\n        Base.all.append(cls)\n\n\nclass One(Base):\n    x = 1\n",
        "x = 1", True,
    ),
    "a registering call": (
        body("return p.ALL", "from components.demo import parts as p\n"),
        "ALL = {}\n\n\ndef add(name, value):\n    ALL[name] = value\n    return value\n\n\nONE = add('a', 1)\n", "1", True,
    ),
    "a monkey patch": (body("return 0", "from components.demo import parts\n"), "import json\n\njson.dumps = lambda x: 1\n", "1", True),
    "a comment": (body("return used()", "from components.demo.parts import used\n"), PARTS + "# 7\n", "7", False),
    "a watcher": (
        body("return p.tell(), p.used()", "from components.demo import parts as p\n"),
        "from components.engines.base.watching import watching\n\n\ndef used():\n    return 1\n\n\n@watching()\ndef tell():\n"
        "    return helper()\n\n\ndef helper():\n    return 2\n", "2", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_stage_sees_what_it_can_reach(tmp_path, name):
    stage, parts, edited, seen = CASES[name]
    write(tmp_path, {"components/demo/train.py": stage, "components/demo/parts.py": parts})
    before = key(tmp_path)
    assert edited in parts
    write(tmp_path, {"components/demo/parts.py": parts.replace(edited, edited + "7")})
    assert (key(tmp_path) != before) == seen


@pytest.mark.parametrize(
    ("edit", "seen"),
    [
        ({"components/demo/words.yaml": "b: 2"}, True),  # beside a module that reads it
        ({"components/demo/comparisons.yaml": "b: 2"}, False),  # what flows reads of a room
        (
            {"components/demo/parts/__init__.py": "from components.demo.parts.b import used\n"},
            True,
        ),  # a re-export moves
        ({"components/demo/parts/b.py": PARTS.replace("1", "7")}, False),
        ({"components/demo/parts/a.py": PARTS.replace("1", "7")}, True),
        ({"components/__init__.py": "import os\n\nos.umask(0)\n"}, True),
    ],
)
def test_data_reexports_and_packages_above(tmp_path, edit, seen):
    head = "from pathlib import Path\n\nfrom components.demo.parts import used\n\n\n"
    stage = body("return used(), (Path(__file__).parent / 'words.yaml').read_text()", head)
    parts = {f"components/demo/parts/{name}.py": PARTS for name in "ab"}
    files = {
        "components/demo/train.py": stage,
        "components/demo/words.yaml": "a: 1",
        "components/demo/comparisons.yaml": "",
    }
    write(tmp_path, files | parts | {"components/demo/parts/__init__.py": "from components.demo.parts.a import used\n"})
    before = key(tmp_path)
    write(tmp_path, edit)
    assert (key(tmp_path) != before) == seen


def test_facts_are_kept_between_processes_and_read_again_where_a_file_or_the_analysis_changed(tmp_path, monkeypatch):
    write(
        tmp_path,
        {
            "components/demo/train.py": body("return used()", "from .parts import used\n"),
            "components/demo/parts.py": PARTS,
        },
    )
    read = []
    monkeypatch.setattr(codebase, "SETTLED_NS", 0)
    real = codebase.facts_of
    monkeypatch.setattr(
        codebase, "facts_of", lambda source, module, *rest: read.append(module) or real(source, module, *rest)
    )
    first = key(tmp_path)
    read.clear()
    assert key(tmp_path) == first
    assert read == []
    (tmp_path / "components/demo/parts.py").write_text(PARTS.replace("1", "3"))
    assert key(tmp_path) != first
    assert read == ["components.demo.parts"]
    kept = tmp_path / ".work/code/facts.json"
    kept.write_text(kept.read_text()[:-20])  # cut short: read anew
    (tmp_path / "components/demo/parts.py").write_text(PARTS)
    assert key(tmp_path) == first
    json.loads(kept.read_text())
    read.clear()
    monkeypatch.setattr(codebase, "_stamp", lambda: "another analysis")
    assert key(tmp_path) == first
    assert "components.demo.parts" in read


@pytest.mark.parametrize("parts", ['"""Words."""\n', '"""Words."""\n\nfrom __future__ import annotations\n\nA = 1\n'])
def test_loading_a_module_that_only_defines_adds_nothing(tmp_path, parts):
    stage = body("return 0", "import components.demo.parts\n")
    write(tmp_path, {"components/demo/train.py": stage, "components/demo/parts.py": parts})
    assert "components.demo.parts" not in key(tmp_path)["modules"]


def test_a_module_that_python_cannot_read_is_named_only_where_it_is_reached(tmp_path):
    write(tmp_path, {"components/demo/train.py": body("return 0"), "components/demo/parts.py": "def ("})
    assert key(tmp_path)
    write(tmp_path, {"components/demo/train.py": body("import components.demo.parts")})
    with pytest.raises(UsageError, match=r"parts\.py:1"):
        key(tmp_path)
