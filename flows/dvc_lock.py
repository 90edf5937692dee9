"""dvc.lock kept whole: what a killed DVC cut short, or a merge left conflicts in, is noticed, backed up, said and put right.

DVC writes the file in place, and most places at which it may be cut leave YAML that parses: entries are gone, or a hash is
shorter. So the last whole file is kept under .work/, and the file is compared with that and with what git has.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.fingerprint import stages_of
from components.engines.base.params import parse_yaml
from components.engines.base.paths import atomic_write

LOCK = "dvc.lock"
KEPT = Path(".work/dvc.lock.valid")
BACKUP = ".work/dvc.lock.{what}"
_OUTS = ("outs", "metrics", "plots")


def keep_lock_file(root: Path) -> None:
    """Remember dvc.lock if it is whole (another stage may be writing it right now; the next one will be kept then)."""
    path, kept = root / LOCK, root / KEPT
    if path.exists():
        text = path.read_bytes()
        if text != _read(kept) and not problem_of(root, text):
            kept.parent.mkdir(exist_ok=True)
            partial = kept.with_name(f".{kept.name}.{threading.get_ident()}")
            partial.write_bytes(text)
            os.replace(partial, kept)


def mend_lock_file(root: Path) -> list[str]:
    """Put dvc.lock right if it is not whole; returns what was done, in words. What was there is kept beside.

    Raises UsageError for merge conflicts where there is no whole file to go on with.
    """
    path = root / LOCK
    if not path.exists():
        return []
    text = path.read_bytes()
    problem = problem_of(root, text)
    if not problem:
        keep_lock_file(root)
        return []
    backup = _back_up(root, text, "conflict" if has_conflicts(text) else "damaged")
    whole, origin = _whole_one(root)
    if whole is None and has_conflicts(text):
        raise UsageError(
            f"dvc.lock {problem}, and there is no earlier one to go on with",
            where=str(path),
            do="resolve them: `git checkout --ours dvc.lock` or `--theirs`, then run again",
        )
    if whole is None:
        path.unlink()
        return [
            f"dvc.lock {problem}: removed, as there is no earlier one; stages come back from DVC's run cache ({backup})"
        ]
    with atomic_write(path) as partial:
        partial.write_bytes(whole)
    return [f"dvc.lock {problem}: put back {origin}; what was there is in {backup}"]


def problem_of(root: Path, text: bytes) -> str:
    """What is wrong with the file, in words that follow `dvc.lock`; "" if it is whole."""
    if has_conflicts(text):
        return "holds the conflicts of a merge"
    if text == _read(root / KEPT) or text in _in_git(root):
        return ""
    cut = _cut(root, text)
    return f"was cut short by a killed run ({cut})" if cut else ""


def _cut(root: Path, text: bytes) -> str:
    """Where the file ends too early; "" where it does not."""
    stages = _stages(text)
    if not stages:
        return "it holds no stages"
    if not text.endswith(b"\n"):
        return "in the middle of a line"
    blocks = stages_of(root)
    name, entry = list(stages.items())[-1]
    lacking = _lacking(entry, blocks.get(name, {}))
    if lacking:
        return f"in {name}: {lacking}"
    before = _stages(_whole_one(root)[0] or b"")
    gone = [stage for stage in before if stage not in stages and (stage in blocks or stage == "code")]
    # A cut takes the end away. Entries that somebody took out of the middle were meant to go.
    return f"from {gone[0]} on" if gone and list(before)[-len(gone) :] == gone else ""


def has_conflicts(text: bytes) -> bool:
    lines = text.split(b"\n")
    return any(line.startswith(b"<<<<<<< ") for line in lines) or any(line.startswith(b">>>>>>> ") for line in lines)


def _lacking(entry: Any, block: dict[str, Any]) -> str:
    """What the entry of a stage lacks of what DVC writes of it: paths, and how each file's hash ends."""
    if not isinstance(entry, dict) or "cmd" not in entry:
        return "its command"
    outs = [path for kind in _OUTS for path in block.get(kind) or []]
    expected = {"deps": block.get("deps") or [], "params": block.get("params") or [], "outs": outs}
    for kind, wanted in expected.items():
        if wanted and not entry.get(kind):
            return kind
    listed = entry.get("outs") or []
    if len(listed) < len(outs):
        return f"{len(outs) - len(listed)} of its outs"
    for one in [*(entry.get("deps") or []), *listed]:
        whole = isinstance(one, dict) and len(one) > 1 and (one.get("hash") != "md5" or {"md5", "size"} <= one.keys())
        if not whole or (str(one.get("md5", "")).endswith(".dir") and "nfiles" not in one):
            return f"the hash of {one.get('path') if isinstance(one, dict) else one}"
    return ""


def _stages(text: bytes) -> dict[str, Any]:
    """The entries by stage, in order; {} for what is no dvc.lock."""
    import yaml

    try:
        found = parse_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    stages = found.get("stages") if isinstance(found, dict) else None
    return stages if isinstance(stages, dict) else {}


def _whole_one(root: Path) -> tuple[bytes | None, str]:
    """The last whole file, and where it comes from."""
    kept = _read(root / KEPT)
    if kept is not None:
        return kept, "as it was after the last finished stage"
    committed = _in_git(root)
    return (committed[0], "as it was committed") if committed else (None, "")


def _in_git(root: Path) -> list[bytes]:
    """The file as committed and as staged, where git knows it without conflicts."""
    found = []
    for name in (f"HEAD:./{LOCK}", f":./{LOCK}"):
        shown = subprocess.run(["git", "show", name], cwd=root, capture_output=True, check=False)
        if shown.returncode == 0 and not has_conflicts(shown.stdout):
            found.append(shown.stdout)
    return found


def _back_up(root: Path, text: bytes, what: str) -> str:
    """Keep these bytes under a name that is free; returns it."""
    base = BACKUP.format(what=what)
    names = [base, *(f"{base}.{number}" for number in range(2, 100))]
    name = next(name for name in names if _read(root / name) in (None, text) or name == names[-1])
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(text)
    return name


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
