"""`python -m flows.param_models`: every key that the stages' params models know, with its default, as JSON.

`python -m flows.param_models --params FILE SYSTEM…`: are the sections of these systems valid? Says what is wrong, exit code 2.

params.yaml lists only what somebody cared to write down. Run as a command of its own, because it loads the rooms' modules,
which nothing else in flows does.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.engines.base.errors import UsageError
from components.engines.base.fingerprint import module_of, stages_of
from components.engines.base.params import Params, parse_section, read_yaml, section_of


def known_keys(root: Path) -> dict[str, Any]:
    """Dotted keys with their defaults (null for a key that must be given). Raises UsageError if a stage does not load."""
    from flows.child import python_environment

    done = subprocess.run(
        [sys.executable, "-m", "flows.param_models"],
        cwd=root, env=python_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise UsageError(f"The stages' params cannot be read: {' '.join(last)}", where=str(root / "components"))
    return json.loads(done.stdout)


def check_params(root: Path, systems: list[str], text: str | None = None) -> None:
    """Raise UsageError if a section of these systems is not what its stage's model wants: before anything runs.

    `text`: what params.yaml would be, where that is not yet what it is.
    """
    from flows.child import python_environment

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_bytes((root / "params.yaml").read_bytes() if text is None else text.encode("utf-8"))
        done = subprocess.run(
            [sys.executable, "-m", "flows.param_models", "--params", str(file), *systems],
            cwd=root, env=python_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode == UsageError.exit_code and done.stdout:
        raise UsageError(**json.loads(done.stdout.splitlines()[-1]))
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise UsageError(f"The stages' params cannot be read: {' '.join(last)}", where=str(root / "components"))


def main() -> int:
    sys.path.insert(0, str(Path.cwd()))
    if sys.argv[1:]:
        return _check(sys.argv[3:], Path.cwd(), Path(sys.argv[2]))
    found: dict[str, Any] = {}
    for key, kind in _sections(Path.cwd()):
        _collect(key, kind, found)
    print(json.dumps(found))
    return 0


def _check(systems: list[str], root: Path, params: Path) -> int:
    from flows.gate import Promotion

    path = root / "params.yaml"  # which it is, or is to be
    try:
        document = read_yaml(params)
        wanted = [(key, kind) for key, kind in _sections(root) if key.split(".")[0] in systems]
        wanted += [(f"{system}.promote", Promotion) for system in systems if "promote" in (document.get(system) or {})]
        parsed = {key: parse_section(kind, section_of(document, key, path), key, path) for key, kind in wanted}
        _check_together(parsed)
    except UsageError as error:
        print(json.dumps({"what": error.what, "where": error.where, "do": error.do}))
        return error.exit_code
    return 0


def _check_together(parsed: dict[str, Params]) -> None:
    """Call `check_together` of a module that defines sections: what it demands of several of them, named by its arguments."""
    for system, module in sorted({(key.split(".")[0], type(one).__module__) for key, one in parsed.items()}):
        check = getattr(sys.modules[module], "check_together", None)
        if check is not None:
            names = typing.get_type_hints(check).keys() - {"return"}
            check(**{name: parsed[f"{system}.{name}"] for name in names})


def _sections(root: Path) -> Iterator[tuple[str, type[Params]]]:
    """Each params section with the model that its stage reads it by."""
    for name, block in stages_of(root).items():
        module = module_of(str(block["cmd"]))
        assert module is not None
        system, stage = name.split("-", 1)
        function = getattr(importlib.import_module(module), stage, None)
        for argument, kind in typing.get_type_hints(function).items() if function else ():
            if isinstance(kind, type) and issubclass(kind, Params):
                yield f"{system}.{stage if argument == 'params' else argument}", kind


def _collect(prefix: str, kind: type[BaseModel], found: dict[str, Any]) -> None:
    for name, field in kind.model_fields.items():
        key = f"{prefix}.{name}"
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        found[key] = default.model_dump(mode="json") if isinstance(default, BaseModel) else _plain(default)
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                _collect(key, part, found)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


if __name__ == "__main__":
    sys.exit(main())
