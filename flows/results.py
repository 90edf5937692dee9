"""What comparisons found, kept as `docs/results/<system>.json` and, for people, `<system>.md`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.engines.base.paths import atomic_write, read_json, write_json

FOLDER = Path("docs/results")
_LIBRARIES = ("torch", "transformers", "ray", "numpy")


def record(root: Path, system: str, name: str, question: str, found: dict[str, Any]) -> list[Path]:
    """Put one comparison's result beside the others of its system; returns the files written."""
    path = root / FOLDER / f"{system}.json"
    results: dict[str, Any] = read_json(path) if path.exists() else {}
    when = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine(), "versions": versions()}
    results[name] = {"question": question, **found, **when}
    write_json(path, results)
    page = path.with_suffix(".md")
    with atomic_write(page) as partial:
        partial.write_text(_page(system, read_json(path)), encoding="utf-8")
    return [path, page]


def machine() -> str:
    """Processors, kind and accelerator, as far as figures depend on them."""
    cores = os.cpu_count() or 1
    return f"{platform.system()} {platform.machine()}, {cores} {'core' if cores == 1 else 'cores'}"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _page(system: str, results: dict[str, Any]) -> str:
    title = system.replace("_", " ").capitalize()
    sections = [_section(name, result) for name, result in sorted(results.items(), key=lambda item: item[0] != "bars")]
    return "\n\n".join([f"# {title}: what was measured", f"Repeat with `genworks compare {system}`.", *sections]) + "\n"


def _section(name: str, result: dict[str, Any]) -> str:
    lines = [
        f"## {name}",
        "",
        result["question"],
        "",
        "| metric | arm | median | range | runs |",
        "|---|---|---|---|---|",
    ]
    metrics = next(iter(result["arms"].values())).keys()
    for metric in metrics:
        for arm, figures in result["arms"].items():
            one = figures[metric]
            spread = f"{shown(one['min'])} – {shown(one['max'])}"
            lines.append(f"| {metric} | {arm} | {shown(one['median'])} | {spread} | {len(one['runs'])} |")
    if result["bars"]:
        lines += ["", "| bar | value | |", "|---|---|---|"]
        lines += [f"| {bar_in_words(bar)} | {shown(bar['value'])} | {_verdict(bar)} |" for bar in result["bars"]]
    about = ", ".join(f"{library} {version}" for library, version in result["versions"].items())
    return "\n".join([*lines, "", f"{result['date']}, {result['machine']}; {about}."])


def bar_in_words(bar: dict[str, Any]) -> str:
    limits = " and ".join(f"{sign} {shown(bar[side])}" for side, sign in (("min", "≥"), ("max", "≤")) if side in bar)
    subject = f"{bar['arm']} − {bar['over']}" if "over" in bar else bar["arm"]
    return f"{bar['metric']} ({subject}) {limits}"


def _verdict(bar: dict[str, Any]) -> str:
    return "met" if bar["met"] else "**missed**"


def shown(value: float) -> str:
    return f"{value:.4g}"
