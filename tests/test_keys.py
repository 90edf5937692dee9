"""Keys by definition, on the rooms themselves: which edit concerns which stage, against what stages really execute."""

from __future__ import annotations

import ast
import importlib
import random
import shutil
import typing
from pathlib import Path

import pytest
import yaml

from components.engines.base import reach
from components.engines.base.codebase import Codebase
from components.engines.base.definitions import IMPORT, MAIN, WATCHING, facts_of
from components.engines.base.fingerprint import module_of
from components.engines.base.params import Params
from components.engines.base.reach import Graph
from tests.stages_in_process import outputs_of, run_stages
from tests.translation.project_copy import copy_project

ROOT = Path(__file__).parents[1]
BLOCKS = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ENTRIES = {name: str(module_of(block["cmd"])) for name, block in BLOCKS.items() if name != "code"}
TRAINING = {name for name in ENTRIES if any(word in name for word in ("-train", "-pretrain", "-finetune", "-distill"))}

# A clip that learns nothing, in seconds.
TINY = {
    "clip": {
        "architecture": {"vision_width": 16, "vision_layers": 1, "text_width": 16, "text_layers": 1, "attention_heads": 2},
        "ingest": {"num_train": 120, "num_test": 24, "samples_per_shard": 60},
        "train": {"training": {"max_steps": 4, "warmup_steps": 1, "batch_size": 8, "score_every": 2, "checkpoint_every": 2}},
    }
}  # fmt: skip
STAGES = ["clip-ingest", "clip-clean", "clip-tokenizer", "clip-train", "clip-evaluate"]
# What stands in for watchers runs where they are off, and is as little in the key as they are.
STAND_INS = {
    "components.engines.base.watching:Nothing",
    "components.engines.base.watching:watching",
    "components.engines.base.fingerprint:_written",
    "components.engines.training.observe.meter:Unmetered",
    "components.engines.training.observe.meter:shown",
}


def keys(root):
    return {name: code for entry, code in Codebase(root).stages([*ENTRIES.values()]).items() for name in _named(entry)}


def _named(entry):
    return [name for name, module in ENTRIES.items() if module == entry]


def in_key(code):
    return {f"{module}:{label}" for module, labels in code["modules"].items() for label in labels}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project's code, to be edited."""
    root = tmp_path_factory.mktemp("edited")
    shutil.copytree(ROOT / "components", root / "components", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def planned(root, file, old, new):
    """Stages whose key an edit changes; it is taken back."""
    path = root / file
    text, before = path.read_text(), keys(root)
    assert text.count(old) >= 1, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new))
    after = keys(root)
    path.write_text(text)
    return {name for name in before if before[name] != after[name]}


def behind(stages):
    """These stages, and all that stand on what they write."""
    found = set(stages)
    for _ in BLOCKS:
        outs = {
            _path(out) for name in found for kind in ("outs", "metrics", "plots") for out in BLOCKS[name].get(kind, [])
        }
        found |= {name for name in ENTRIES if outs & {_path(dep) for dep in BLOCKS[name].get("deps", [])}}
    return found


def _path(entry):
    return next(iter(entry)) if isinstance(entry, dict) else entry


OBSERVE = "components/engines/training/observe"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (f"{OBSERVE}/peaks.py", '(r"NVIDIA B200"', '(r"NVIDIA B300", {"bf16": 4500}),\n    (r"NVIDIA B200"'),
        ("components/engines/base/progress.py", "every_seconds: float = 10.0", "every_seconds: float = 60.0"),
        (f"{OBSERVE}/meter.py", '"samples_per_second"', '"samples_a_second"'),
        (f"{OBSERVE}/profiler.py", '"trace"', '"traces"'),
        ("components/engines/tracking/spool.py", "import ", "import  "),
        ("flows/charts.py", "def ", "def  "),
        ("flows/charts.py", "return ", "return 0 or "),
    ],
)
def test_an_edit_of_what_watches_or_reports_reruns_nothing(copy, file, old, new):
    assert planned(copy, file, old, new) == set()


def test_a_sampler_retrains_nothing(copy):
    changed = planned(copy, "components/engines/diffusion/sampling.py", "return latents\n", "return 1 * latents\n")
    assert "text_to_image-evaluate" in changed
    assert not changed & TRAINING


def test_a_loss_reruns_its_training_stage_and_what_follows(copy):
    changed = planned(copy, "components/engines/captioned/captioning.py", "return ", "return 0 or ")
    assert changed & TRAINING == {"image_captioning-train"}
    assert behind(changed) >= {"image_captioning-evaluate", "image_captioning-register"}
    assert not behind(changed) & {"clip-train", "translation-finetune", "text_to_image-train_autoencoder"}


def test_renaming_a_local_variable_concerns_the_stages_that_reach_its_function(copy):
    file = "components/engines/training/schedule.py"
    before = keys(copy)
    function = next(node for node in ast.parse((copy / file).read_text()).body if isinstance(node, ast.FunctionDef))
    argument = function.args.args[-1].arg
    changed = planned(copy, file, argument, f"{argument}_here")
    named = f"components.engines.training.schedule:{function.name}"
    assert changed == {name for name, code in before.items() if named in in_key(code)} != set()
    assert changed >= TRAINING - {"text_to_image-quantize"}


@pytest.mark.parametrize(
    ("file", "old", "new", "concerned"),
    [
        ("captioned/ingest.py", "num_train: Positive = 20_000", "num_train: Positive = 20_001", "-ingest"),  # a base's
        (
            "images/decode.py",
            "max_pixels: Positive = 64_000_000",
            "max_pixels: Positive = 64_000_001",
            "-clean",
        ),  # of a part
        ("images/lookalikes.py", "MAX_BITS, MAX_LEVELS = 12", "MAX_BITS, MAX_LEVELS = 13", "-clean"),  # by name
        ("training/params.py", "weight_decay: float = Field(0.0", "weight_decay: float = Field(0.1", "-train"),
    ],
)
def test_a_default_that_changes_is_a_change_of_every_stage_that_reads_it(copy, file, old, new, concerned):
    """params.yaml lists what differs from the defaults, and DVC sees nothing else."""
    changed = planned(copy, f"components/engines/{file}", old, new)
    systems = ("clip", "image_captioning", "text_to_image")
    assert changed >= {f"{system}{concerned}" for system in systems}


def test_the_classes_of_all_params_are_in_the_keys_of_their_stages():
    found = keys(ROOT)
    for name, module in ENTRIES.items():
        function = getattr(importlib.import_module(module), name.split("-")[1])
        kinds = {kind for kind in typing.get_type_hints(function).values() if _is_params(kind)}
        while more := {one for kind in kinds for one in _parts(kind)} - kinds:
            kinds |= more
        assert bool(kinds) == bool(BLOCKS[name].get("params"))
        assert {f"{kind.__module__}:{kind.__name__}" for kind in kinds} <= in_key(found[name]), name


def _is_params(kind):
    return isinstance(kind, type) and issubclass(kind, Params) and kind is not Params


def _parts(kind):
    """A class's bases, and the sections inside it."""
    named = [
        part for field in kind.model_fields.values() for part in (field.annotation, *typing.get_args(field.annotation))
    ]
    return {part for part in (*kind.__mro__, *named) if _is_params(part)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Five stages of clip without watchers: the copy, what each executed, and its outputs."""
    root = copy_project(tmp_path_factory.mktemp("ran"), TINY)
    checked = root / "reports/clip/checked.json"
    checked.parent.mkdir(parents=True, exist_ok=True)
    checked.write_text('{"success": true}')  # that the data are sound, which the tokenizer waits for
    executed = run_stages(root, STAGES, watching=False)
    return root, executed, outputs_of(root, STAGES)


@pytest.mark.timeout(300)
def test_outputs_are_the_same_bytes_without_watchers(ran):
    root, _, without = ran
    assert not (root / "mlflow.db").exists()  # they were off
    run_stages(root, STAGES, watching=True)
    assert (root / "mlflow.db").exists()
    assert outputs_of(root, STAGES) == without


@pytest.mark.timeout(300)
def test_every_definition_that_a_stage_executes_is_in_its_key(ran):
    root, executed, _ = ran
    known = keys(root)
    for stage, definitions in executed.items():
        assert len(definitions) > 50
        assert definitions - in_key(known[stage]) <= STAND_INS, stage


@pytest.mark.timeout(300)
def test_random_edits_of_engines_are_planned_for_every_stage_that_executes_them(ran, capsys):
    """60 mutations, each of one definition of any engine: no stage that executes it is missed. How many are planned, beside how
    many would be if a key held whole modules."""
    root, executed, _ = ran
    shares, by_module = mutations(root, executed, 60)
    with capsys.disabled():
        print(
            f"\n60 mutations of engines: {shares:.0%} of {len(ENTRIES)} stages planned, {by_module:.0%} under module keys"
        )
    assert shares < by_module


def mutations(root, executed, count):
    """Mean share of stages that a random mutation plans, by definition and by module; fails where one is missed."""
    codebase = Codebase(root)
    codebase.stages([*ENTRIES.values()])
    graph = codebase.graph
    before = {name: graph.reached(entry).definitions for name, entry in ENTRIES.items()}
    imports = {name: set(graph.imports(entry)) for name, entry in ENTRIES.items()}
    engines = [
        name[:-3].replace("/", ".").removesuffix(".__init__")
        for name in codebase.files
        if name.endswith(".py") and "/engines/" in name
    ]
    every = [
        (module, ", ".join(unit["binds"]))
        for module in sorted(engines)
        for unit in codebase._facts(module)["units"]
        if unit["kind"] not in (IMPORT, MAIN, WATCHING) and unit["binds"]
    ]
    shares, by_module = [], []
    for module, label in random.Random(0).sample(every, count):
        file = str(codebase.file_of(module))
        facts = facts_of(mutated((root / file).read_text(), label).encode(), module, file.endswith("__init__.py"), file)
        edited = Graph(codebase._facts)
        edited._modules = {**graph._modules, module: reach._Module(facts)}
        changed = {name for name, entry in ENTRIES.items() if edited.reached(entry).definitions != before[name]}
        assert {stage for stage in executed if f"{module}:{label}" in executed[stage] - STAND_INS} <= changed, (
            module,
            label,
        )
        shares.append(len(changed) / len(ENTRIES))
        by_module.append(sum(module in found for found in imports.values()) / len(ENTRIES))
    return sum(shares) / count, sum(by_module) / count


def mutated(text, label):
    """The module with another statement at the begin of this definition."""
    name = label.split(", ")[0]
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
                first = node.body[1]
            lines = text.splitlines(keepends=True)
            number = min([first.lineno, *(one.lineno for one in getattr(first, "decorator_list", []))])
            lines.insert(number - 1, " " * first.col_offset + "_mutated = 1\n")
            return "".join(lines)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and name in {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name)
        }:
            lines = text.splitlines(keepends=True)
            lines.insert((node.end_lineno or 0), f"{name} = {name}\n")
            return "".join(lines)
    raise AssertionError(f"no {label}")
