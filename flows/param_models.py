"""`python -m flows.param_models`: every key that the stages' params models know, with its default, as JSON.

params.yaml lists only what somebody cared to write down. Run as a command of its own, because it loads the rooms' modules,
which nothing else in flows does.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from components.engines.base.errors import UsageError
from components.engines.base.fingerprint import module_of, stages_of
from components.engines.base.params import Params


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


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    found: dict[str, Any] = {}
    for name, block in stages_of(Path.cwd()).items():
        module = module_of(str(block["cmd"]))
        assert module is not None
        system, stage = name.split("-", 1)
        function = getattr(importlib.import_module(module), stage, None)
        for argument, kind in typing.get_type_hints(function).items() if function else ():
            if isinstance(kind, type) and issubclass(kind, Params):
                _collect(f"{system}.{stage if argument == 'params' else argument}", kind, found)
    print(json.dumps(found))


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
    main()
