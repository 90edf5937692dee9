"""A stage's fingerprint changes with the code it can see, and with nothing else."""

import json

import pytest

from components.engines.base import fingerprint as fp
from components.engines.base.errors import UsageError
from components.engines.base.work import WorkLock


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
    assert set(fp.closure("components.demo.train", project)) == {
        "components",
        "components.demo",
        "components.demo.train",
        "components.engines",
        "components.engines.maths",
    }


def test_imports_for_type_checkers_only_are_not_followed(project):
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from components.engines import maths\n"
    (project / "components/demo/read.py").write_text(guarded)
    assert "components.engines.maths" not in fp.closure("components.demo.read", project)


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


def test_a_docstring_that_is_data_counts_as_code(project):
    engine = project / "components/engines/maths.py"
    engine.write_text('TEXT = "a"\n\ndef double(x):\n    return TEXT\n')
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
    by_name = fp.external_state("table.csv", project)
    assert fp.external_state(str(project / "table.csv"), project) == by_name
    assert fp.external_state("*.csv", project)
    assert fp.external_state("nothing.csv", project) is None
    assert fp.external_state("sample", project) is None


def test_the_state_of_a_url_changes_with_its_content(project):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/bucket/a.csv", b"1")
    before = fp.external_state("memory://bucket/a.csv", project)
    store.pipe("/bucket/a.csv", b"12")
    assert fp.external_state("memory://bucket/a.csv", project) != before


def test_an_accepted_change_is_taken_back_until_the_module_changes_again(project):
    engine = project / "components/engines/maths.py"
    old = fp.current(project)["demo-train"]
    replace(engine, "2 * x", "x + x")
    new = fp.current(project)["demo-train"]
    line = fp.record_acceptance(project, "demo-train", old, new, why="same value", who="ada")
    assert line["changes"] == {
        "modules": {
            "components.engines.maths": [
                old["modules"]["components.engines.maths"],
                new["modules"]["components.engines.maths"],
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
