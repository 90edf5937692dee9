"""The house is as docs/house.md says: rooms in one shape, layered engines, no circles, small files; docs name what is there.

Rooms and engines are discovered. The whole tree is read from its syntax; nothing of it is imported.
"""

import ast
import graphlib
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ENGINES = sorted(path.name for path in (ROOT / "components/engines").iterdir() if (path / "__init__.py").exists())
ROOMS = sorted(path.parent.name for path in ROOT.glob("components/*/__init__.py") if path.parent.name != "engines")
STAGES = [name for name in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"] if name != "code"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
HOUSE = (ROOT / "docs/house.md").read_text()
LAYERS = next(
    contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if contract["type"] == "layers"
)


def sources(*folders):
    """Every module of these folders by its dotted name, as its path and its syntax tree; templates are no modules."""
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): (
            path,
            ast.parse(path.read_text()),
        )
        for path in files
        if not {"templates", ".venv"} & set(path.relative_to(ROOT).parts)
    }


@pytest.fixture(scope="module")
def modules():
    return sources("components", "flows", "benchmarks", "tests")


def imports_of(tree):
    """Modules and names that a file imports anywhere: at its top, in functions, and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: imports are absolute here"
            yield from ((node.lineno, node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, None) for alias in node.names)


def names_of(tree):
    """What a module binds at its top, however deep in `if` or `try`."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        waiting.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_the_top_of_a_room_is_its_stages(room):
    stages = {f"{name.split('-', 1)[1]}.py" for name in STAGES if name.startswith(f"{room}-")}
    top = {path.name for path in (ROOT / "components" / room).iterdir() if path.name != "__pycache__"}
    needed = stages | {"__init__.py", "architecture.py", "serve.py", "comparisons.yaml"}
    assert needed <= top <= needed | {"networks", "tasks", "measures", "serving", "world"}


def test_every_stage_has_a_room_and_every_room_stages():
    assert {name.split("-", 1)[0] for name in STAGES} == set(ROOMS)


def test_there_is_no_import_circle_even_in_functions_and_for_types(modules):
    ours = {name: tree for name, (_, tree) in modules.items() if name.split(".")[0] in ("components", "flows")}
    graph = {}
    for module, tree in ours.items():
        found = graph[module] = set()
        for _, source, name in imports_of(tree):
            target = f"{source}.{name}" if f"{source}.{name}" in ours else source
            # loading a module loads the packages around it
            found |= {".".join(target.split(".")[:end]) for end in range(1, target.count(".") + 2)}
        found &= ours.keys() - {module} - {".".join(module.split(".")[:end]) for end in range(1, module.count(".") + 1)}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_every_import_and_every_module_named_by_a_string_exists(modules):
    """mypy lets a module that is missing pass, and an import inside a function fails only when that function runs."""
    names = {module: names_of(tree) for module, (_, tree) in modules.items()}
    packages = {"components", "flows", "benchmarks", "tests"}
    wrong = []
    for module, (path, tree) in modules.items():
        for line, source, name in imports_of(tree):
            if source.split(".")[0] not in packages or source.startswith(("components.toy", "tests.")):
                continue  # projects of tests have their own
            if f"{source}.{name}" not in names and (source not in names or (name and name not in names[source])):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {source} {name or ''}")
        if module.startswith("tests."):
            continue
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if re.fullmatch(r"components\.engines(\.\w+)+(:\w+)?", text):
                source, _, name = text.partition(":")
                if source not in names or (name and name not in names[source]):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {text}")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_longer_than_350_lines():
    """Code, and data beside it, outside tests. dvc.yaml and params.yaml are the one DAG and the one configuration, not code."""
    files = chain.from_iterable((ROOT / folder).rglob("*") for folder in ("components", "flows", "benchmarks", "infra"))
    kinds = {".py", ".yaml", ".html", ".sh"}
    lengths = {
        path: path.read_text().count("\n") for path in files if path.suffix in kinds and ".venv" not in path.parts
    }
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 350} == {}


def test_the_page_of_the_house_draws_the_layers_that_are_checked():
    drawn = [line.split("·")[0] for line in HOUSE.split("```")[1].splitlines()]
    assert [set(re.findall(r"\w+", line)) for line in LAYERS] == [
        set(re.findall(r"\w+", line)) for line in drawn if line.strip()
    ]


def test_the_page_of_the_house_has_a_line_for_every_engine():
    assert sorted(re.findall(r"^\| `(\w+)/` \|", HOUSE, re.MULTILINE)) == ENGINES


def expanded(text):
    """`a/{b,c}.py` is two paths."""
    found = re.search(r"\{([^{}]*)\}", text)
    if not found:
        return [text]
    return [
        path
        for one in found[1].split(",")
        for path in expanded(text[: found.start()] + one.strip() + text[found.end() :])
    ]


@pytest.fixture(scope="module")
def paths():
    """Every file and folder from the root on, and from each folder below it: pages leave out what is clear."""
    found = set()
    for top in ("components", "flows", "tests", "benchmarks", "docs", "infra"):
        for path in [ROOT / top, *(ROOT / top).rglob("*")]:
            parts = path.relative_to(ROOT).parts
            found |= {"/".join(parts[start:]).removesuffix(".py") for start in range(len(parts))}
    return found | {path.name for path in ROOT.iterdir()}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page, paths):
    quoted = re.findall(r"`([^`\n]+)`", page.read_text())
    first = "|".join([*ROOMS, *ENGINES, "components", "engines", "flows", "benchmarks"])
    named = [one.split(":")[0].strip() for one in quoted]
    ours = [one for one in named if re.fullmatch(rf"(?:{first})/[\w{{}},./ ]+|[\w{{}},./ ]+\.py", one)]
    ours += [one.rstrip(".,") for one in re.findall(r"\btests/[\w{},./]+|\btest_\w+\.py", page.read_text())]
    ours += [one.split("#")[0] for one in re.findall(r"\]\(([^)#]+)[)#]", page.read_text()) if "://" not in one]
    wanted = [path.removesuffix("/").removesuffix(".py") for one in ours for path in expanded(one)]
    assert [path for path in wanted if path not in paths] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_params_and_stages_that_a_page_names_exist(page):
    named = re.findall(rf"(?<![\w/.])({'|'.join(ROOMS)})(?:-|\.(?=\w+\.))(\w+)", page.read_text())
    sections = {(room, name) for room in ROOMS for name in PARAMS[room]} | {
        tuple(name.split("-", 1)) for name in STAGES
    }
    assert {".".join(one) for one in named if one not in sections} == set()
