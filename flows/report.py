"""The report of a system: one self-contained page from the files its stages wrote.

    python -m flows.report SYSTEM

Nothing here knows a room. It shows what is there: `metrics.json` and other metrics files, `*_curve.csv`, `samples.jsonl` and
other `*_samples.jsonl`, `pictures.json` and `charts.json` (see flows/illustrations.py), the funnels in the manifests under
`data/<system>/`, `checked.json`, `verdict.json`, and the lineage in dvc.lock.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import atomic_write, project_root, read_json, read_jsonl
from flows import illustrations

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {"bad": "Worst", "good": "Best", "random": "Arbitrary"}
LOSS_COLUMNS = ("_loss", "loss")


def build_report(system: str, root: Path) -> Path:
    """Write `reports/<system>/report.html` and return its path. Raises UsageError if the system has no figures yet."""
    folder = root / "reports" / system
    if not (folder / "metrics.json").is_file():
        raise UsageError(f"{system} has nothing to report yet", where=str(folder), do=f"genworks run {system}")
    page = _template().render(
        system=system,
        verdict=_verdict(folder / "verdict.json"),
        figures=_figures(read_json(folder / "metrics.json")),
        slices=_slices(read_json(folder / "metrics.json")),
        funnels=_funnels(root / "data" / system, _stage_order(root, system)),
        others=_other_metrics(folder),
        curves=_curves(folder),
        samples=_samples(folder),
        pictures=illustrations.pictures(folder),
        charts=illustrations.charts(folder),
        checks=_optional(folder / "checked.json"),
        lineage=_lineage(root, system),
    )
    path = folder / "report.html"
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["figure"] = _shown
    return environment.get_template("report.html")


def _shown(value: Any) -> str:
    """A figure as a person reads it."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not isinstance(value, dict)}


def _slices(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A bar chart for every figure by slice: `slices: {name: {value: {count, figure}}}`."""
    from flows.charts import bars

    charts = []
    for name, groups in (metrics.get("slices") or {}).items():
        for figure in [key for key in next(iter(groups.values()), {}) if key != "count"]:
            values = {f"{value} ({group['count']})": group[figure] for value, group in groups.items()}
            charts.append({"title": f"{figure} by {name}", "svg": bars(values, xlabel=figure)})
    return charts


def _stage_order(root: Path, system: str) -> list[str]:
    """Output folders of a system in the order of dvc.yaml."""
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    outs = [out for name, block in stages.items() if name.startswith(f"{system}-") for out in block.get("outs") or []]
    return [Path(out if isinstance(out, str) else next(iter(out))).name for out in outs]


def _funnels(data: Path, order: list[str]) -> list[dict[str, Any]]:
    """Where records went, stage by stage."""
    from flows.charts import bars

    found = []
    for folder in order:
        manifest = _optional(data / folder / "manifest.json")
        if not manifest or not manifest.get("funnel"):
            continue
        books = manifest["funnel"]
        shown = {"in": books["seen"], "kept": books["kept"]}
        shown |= {f"rejected: {reason}": count for reason, count in books["rejected"].items()}
        shown |= {f"quarantined: {reason}": count for reason, count in books["quarantined"].items()}
        found.append({"title": folder, "svg": bars(shown, xlabel="records"), "splits": manifest["splits"]})
    return found


def _other_metrics(folder: Path) -> list[dict[str, Any]]:
    """Metrics files of other stages than evaluate (cleaning, …)."""
    known = {"metrics.json", "scores.json", "checked.json", "verdict.json"}
    paths = [
        path
        for path in sorted(folder.glob("*.json"))
        if path.name not in known and not path.name.endswith(illustrations.ENDINGS)
    ]
    return [{"title": path.stem, "figures": _flat(read_json(path))} for path in paths]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, child in value.items():
        flat |= _flat(child, f"{prefix}{name}.") if isinstance(child, dict) else {f"{prefix}{name}": child}
    return flat


def _curves(folder: Path) -> list[dict[str, Any]]:
    from flows.charts import lines

    charts = []
    for path in sorted(folder.glob("*_curve.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [name for name in (rows[0] if rows else {}) if name.endswith(LOSS_COLUMNS)]
        series = {name: [(float(row["step"]), float(row[name])) for row in rows if row[name]] for name in columns}
        if series:
            svg = lines(series, xlabel="step", logarithmic=all(y > 0 for points in series.values() for _, y in points))
            charts.append({"title": path.stem.removesuffix("_curve"), "svg": svg})
    return charts


def _samples(folder: Path) -> list[dict[str, Any]]:
    """Tables of `samples.jsonl`, then of every other `*_samples.jsonl`, by the kind of their rows."""
    files = sorted(folder.glob("*samples.jsonl"), key=lambda path: (path.name != "samples.jsonl", path.name))
    return [group for path in files for group in _tables(path, path.stem.removesuffix("samples").rstrip("_"))]


def _tables(path: Path, subject: str) -> list[dict[str, Any]]:
    """A row's `pictures` maps columns to files beside `path`; they come before its `fields`."""
    rows = read_jsonl(path)
    for row in rows:
        row["pictures"] = {
            column: illustrations.embedded(path.parent, file) for column, file in row.get("pictures", {}).items()
        }
    return [
        {
            "title": f"{subject}: {title.lower()}" if subject else title,
            "rows": found,
            "shown": list(found[0]["pictures"]),
            "columns": list(found[0]["fields"]),
        }
        for kind, title in KINDS.items()
        if (found := [row for row in rows if row["kind"] == kind])
    ]


def _verdict(path: Path) -> dict[str, Any] | None:
    """The gate's last word with what it measured, check by check."""
    verdict = _optional(path)
    if verdict is None:
        return None
    checks = {
        name: _flat(found) if isinstance(found, dict) else {"": found} for name, found in verdict["checks"].items()
    }
    return {**verdict, "checks": checks}


def _lineage(root: Path, system: str) -> list[dict[str, Any]]:
    """What every artefact was made from: outputs by content hash, the code and params they come from."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return []
    stages = read_yaml(lock).get("stages") or {}
    chain = []
    for name, block in stages.items():
        if not name.startswith(f"{system}-"):
            continue
        code = next((dep["md5"] for dep in block.get("deps") or [] if dep["path"].startswith("data/code/")), "")
        outs = [{"path": out["path"], "md5": out["md5"]} for out in block.get("outs") or []]
        params = _flat((block.get("params") or {}).get("params.yaml") or {})
        chain.append({"stage": name, "code": code, "outs": outs, "params": params})
    return chain


def main() -> None:
    try:
        if len(sys.argv) != 2:
            raise UsageError("Name one system", do="python -m flows.report SYSTEM")
        print(build_report(sys.argv[1], project_root()))
    except GenworksError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
