"""A stage's fingerprint changes with the code it can see, and with nothing else."""

import ast
import json
import shutil
import subprocess
from pathlib import Path

import fsspec
import pytest

from components.engines.base import definitions, external
from components.engines.base import fingerprint as fp
from components.engines.base.codebase import Codebase
from components.engines.base.definitions import facts_of
from components.engines.base.errors import UsageError
from components.engines.base.syntax import digest_of, without_docstrings
from components.engines.base.work import WorkLock
from flows import commands
from tests.flows.toy_project import REPOSITORY


def _interpreters(version):
    """Pythons of this minor version on this machine, as pyenv, uv or the system have them."""
    home = Path.home()
    found = [
        *home.glob(f".pyenv/versions/{version}.*/bin/python"),
        *home.glob(f".local/share/uv/python/*-{version}.*/bin/python"),
    ]
    return found[:1] or [path for path in [shutil.which(f"python{version}")] if path]


@pytest.fixture
def project(tmp_path):
    """A project with two stages: `demo-train` sees an engine through a lazy import, `demo-read` does not."""
    files = {
        "components/__init__.py": "",
        "components/engines/__init__.py": "",
        "components/engines/maths.py": 'def double(x):\n    """Twice."""\n    return 2 * x\n',
        "components/demo/__init__.py": "",
        "components/demo/read.py": "import json\n\nimport numpy\n",
        "components/demo/train.py": "def train():\n    from ..engines.maths import double\n    return double(1)\n",
        "params.yaml": "demo:\n  read: {source: table.csv}\n  train: {}\n",
        "dvc.yaml": (
            "stages:\n"
            "  demo-read: {cmd: python -m components.demo.read, params: [demo.read]}\n"
            "  demo-train: {cmd: python -m components.demo.train, params: [demo.train]}\n"
        ),
        "table.csv": "a,b\n1,2\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def changed(project, edit):
    before = fp.current(project)
    edit()
    after = fp.current(project)
    return {name for name in before if before[name] != after[name]}


def replace(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_closure_follows_lazy_and_relative_imports_and_packages(project):
    assert set(Codebase(project).imports("components.demo.train")) == {
        "components",
        "components.demo",
        "components.demo.train",
        "components.engines",
        "components.engines.maths",
    }


def test_imports_for_type_checkers_only_are_not_followed(project):
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from components.engines import maths\n"
    (project / "components/demo/read.py").write_text(guarded)
    assert "components.engines.maths" not in Codebase(project).imports("components.demo.read")


def test_comments_docstrings_and_layout_change_nothing(project):
    engine = project / "components/engines/maths.py"
    assert (
        changed(
            project,
            lambda: engine.write_text('# why\n\n\ndef double(x):\n    """Other words."""\n    return 2*x  # twice\n'),
        )
        == set()
    )


def test_a_function_edit_changes_exactly_the_stages_that_import_it(project):
    engine = project / "components/engines/maths.py"
    assert changed(project, lambda: replace(engine, "2 * x", "x + x")) == {"demo-train"}


def test_the_data_of_a_module_is_part_of_it(project):
    data = project / "components/engines/maths.yaml"
    assert changed(project, lambda: data.write_text("factor: 2\n")) == {"demo-train"}
    assert Codebase(project).imports("components.demo.train")["components.engines.maths.yaml"] == data
    assert changed(project, lambda: data.write_text("factor:   2 # twice\n")) == set()
    assert changed(project, lambda: data.write_text("factor: 30\n")) == {"demo-train"}


# Everything that `ast.dump` or the parser is known to show differently from one minor version of Python to another.
TRICKY = r"""
def f(x, *, y: int = 3, **more) -> str:
    a = [], {}, (), {**more}
    class Empty: pass
    async def g(): return [z async for z in x if z]
    return f"{'':<{y}} é{x!r}{x:>10}" u"\U0001fae8 \ud800" if x else -1e400j
match f:
    case [1, *_] | {"a": None}: ...
"""
OTHERS = [str(p) for v in ("3.11", "3.12", "3.13", "3.14") for p in _interpreters(v)]


def test_digest_of_code_is_the_same_from_every_python(tmp_path):
    """The value is what 3.11, 3.12 and 3.13 gave; under `ast.dump` each gave another."""
    tree = ast.parse(TRICKY)
    without_docstrings(tree)
    assert digest_of(tree) == "d1e96502819462ae"


@pytest.mark.parametrize("python", OTHERS)
def test_digests_of_our_own_modules_are_those_of_the_other_pythons_here(python):
    files = sorted(Path(definitions.__file__).parent.glob("*.py")) + sorted(Path(commands.__file__).parent.glob("*.py"))
    script = "import sys, pathlib; from components.engines.base.definitions import facts_of\n"
    script += "print([facts_of(pathlib.Path(path).read_bytes(), 'components.m', False, path) for path in sys.argv[1:]])"
    told = subprocess.run(
        [python, "-c", script, *map(str, files)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ast.literal_eval(told.stdout) == [
        facts_of(path.read_bytes(), "components.m", False, str(path)) for path in files
    ]


def test_a_docstring_that_is_data_counts_as_code(project):
    engine = project / "components/engines/maths.py"
    engine.write_text('TEXT = "a"\n\n\ndef double(x):\n    return TEXT\n')
    assert changed(project, lambda: replace(engine, '"a"', '"b"')) == {"demo-train"}


def test_library_versions_are_part_of_it(project):
    import numpy

    assert fp.current(project)["demo-read"]["libraries"] == {"numpy": numpy.__version__}


def test_content_of_a_source_named_only_in_params_is_part_of_it(project):
    assert changed(project, lambda: (project / "table.csv").write_text("a,b\n3,4\n")) == {"demo-read"}


def test_so_are_the_files_of_a_folder_of_images(project):
    (project / "photos").mkdir()
    (project / "photos/a.png").write_bytes(b"1")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("source: table.csv", "source: table.csv, images: photos"))
    assert "images: photos" in params.read_text()
    assert changed(project, lambda: (project / "photos/a.png").write_bytes(b"2")) == {"demo-read"}


def test_a_source_may_be_a_glob_an_absolute_path_or_missing(project):
    by_name = external.external_state("table.csv", project)
    assert external.external_state(str(project / "table.csv"), project) == by_name
    assert external.external_state("*.csv", project)
    assert external.external_state("nothing.csv", project) is None
    assert external.external_state("sample", project) is None


def test_the_state_of_a_url_changes_with_its_content(project):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/bucket/a.csv", b"1")
    before = external.external_state("memory://bucket/a.csv", project)
    store.pipe("/bucket/a.csv", b"12")
    assert external.external_state("memory://bucket/a.csv", project) != before


def test_an_accepted_change_is_taken_back_until_the_module_changes_again(project):
    engine = project / "components/engines/maths.py"
    old = fp.current(project)["demo-train"]
    replace(engine, "2 * x", "x + x")
    new = fp.current(project)["demo-train"]
    line = fp.record_acceptance(project, "demo-train", old, new, why="same value", who="ada")
    assert line["changes"] == {
        "modules": {
            "components.engines.maths:double": [
                old["modules"]["components.engines.maths"]["double"],
                new["modules"]["components.engines.maths"]["double"],
            ]
        }
    }
    assert fp.current(project)["demo-train"] == old
    replace(engine, "x + x", "3 * x")
    assert fp.current(project)["demo-train"] != old


def test_an_accepted_new_import_disappears_from_the_fingerprint(project):
    old = fp.current(project)["demo-read"]
    replace(project / "components/demo/read.py", "import numpy", "import numpy\nfrom components.engines import maths")
    fp.record_acceptance(project, "demo-read", old, fp.current(project)["demo-read"], why="unused", who="ada")
    assert fp.current(project)["demo-read"] == old


def test_accepting_nothing_is_refused(project):
    now = fp.current(project)["demo-read"]
    with pytest.raises(UsageError, match="Nothing to accept"):
        fp.record_acceptance(project, "demo-read", now, now, why="")


def test_files_are_rewritten_only_where_something_changed_and_not_under_a_running_stage(project):
    assert set(fp.write_all(project)) == {"demo-read", "demo-train"}
    assert fp.write_all(project) == []
    replace(project / "components/engines/maths.py", "2 * x", "x + x")
    with WorkLock(project / ".work/demo-train"):
        assert fp.write_all(project) == []
    assert fp.write_all(project) == ["demo-train"]
    assert json.loads((project / "data/code/demo-train.json").read_text()) == fp.current(project)["demo-train"]


def test_a_syntax_error_is_one_message_with_file_and_line(project):
    (project / "components/engines/maths.py").write_text("def double(:\n")
    with pytest.raises(UsageError, match=r"maths\.py:1"):
        fp.current(project)


def test_a_stage_whose_module_does_not_exist_is_named(project):
    replace(project / "dvc.yaml", "demo.train,", "demo.trian,")
    with pytest.raises(UsageError, match=r"components\.demo\.trian"):
        fp.current(project)


def test_what_stands_behind_links_and_under_any_key_is_part_of_it(project):
    (project / "far").mkdir()
    (project / "far/a.png").write_bytes(b"1")
    (project / "photos").mkdir()
    (project / "photos/linked").symlink_to(project / "far")
    (project / "far/back").symlink_to(project / "photos")  # a circle
    (project / "words").mkdir()
    (project / "words/bad.txt").write_text("x")
    params = project / "params.yaml"
    params.write_text("demo:\n  read: {images: photos, lists: [words/bad.txt, words, fine]}\n  train: {}\n")
    assert set(fp.current(project)["demo-read"]["external"]) == {"demo.read.images", "demo.read.lists.0"}
    assert changed(project, lambda: (project / "far/a.png").write_bytes(b"22")) == {"demo-read"}
    assert changed(project, lambda: (project / "words/bad.txt").write_text("yy")) == {"demo-read"}


def test_every_object_of_a_remote_folder_or_glob_is_part_of_it(project):
    store = fsspec.filesystem("memory")
    store.pipe({"/many/a.csv": b"1", "/many/b.csv": b"1"})
    for url in ("memory://many", "memory://many/*.csv"):
        params = project / "params.yaml"
        params.write_text(f"demo:\n  read: {{source: '{url}'}}\n  train: {{}}\n")
        store.pipe("/many/b.csv", b"1")
        assert changed(project, lambda: store.pipe("/many/b.csv", b"2")) == {"demo-read"}
        assert changed(project, lambda: store.pipe("/many/c.csv", b"2")) == {"demo-read"}
        assert changed(project, lambda: store.rm("/many/c.csv")) == {"demo-read"}


def test_a_remote_that_does_not_answer_is_taken_to_be_as_it_was_and_named(project, monkeypatch):
    store = fsspec.filesystem("memory")
    store.pipe("/away/a.csv", b"1")
    (project / "params.yaml").write_text("demo:\n  read: {source: 'memory://away/a.csv'}\n  train: {}\n")
    fp.write_all(project)
    before = fp.current(project)
    monkeypatch.setattr(type(store), "isfile", lambda *_: (_ for _ in ()).throw(ConnectionError("no route")))
    unknown: dict[str, list[str]] = {}
    assert fp.current(project, unknown=unknown) == before
    (said,) = unknown["demo-read"]
    assert "demo.read.source cannot be reached (ConnectionError): taken to be as it was" in said
    shutil.rmtree(project / "data")
    fp.current(project, unknown=unknown)
    assert "it was never seen" in unknown["demo-read"][-1]
