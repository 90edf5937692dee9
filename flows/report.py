"""The report of a system: one self-contained page from the files its stages wrote.

    python -m flows.report SYSTEM

Nothing here knows a room. It shows what is there: `metrics.json` in the order and words of the room's `measures/figures.yaml`
(flows/headlines.py), other metrics files, `*_curve.csv`, `samples.jsonl` and other `*_samples.jsonl`, `pictures.json` and
`charts.json` (flows/illustrations.py), the funnels in the manifests under `data/<system>/`, `checked.json`, `verdict.json`,
and the lineage in dvc.lock. What is not there has no heading.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.engines.base.errors import GenworksError, UsageError
from components.engines.base.params import read_yaml
from components.engines.base.paths import atomic_write, project_root, read_json, read_jsonl
from flows import illustrations, verdict_tables
from flows.bars import bars
from flows.cautions import cautions
from flows.facts import facts
from flows.figures import flat, in_order, shown
from flows.headlines import declared, headline

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {
    "random": "Arbitrary ones, picked at even distances",
    "bad": "The worst",
    "good": "The best",
}


def build_report(system: str, root: Path) -> Path:
    """Write `reports/<system>/report.html` and return its path. Raises UsageError if the system has no figures yet."""
    folder = root / "reports" / system
    if not (folder / "metrics.json").is_file():
        raise UsageError(f"{system} has nothing to report yet", where=str(folder), do=f"genworks run {system}")
    metrics = read_json(folder / "metrics.json")
    figures = flat({name: value for name, value in metrics.items() if name != "slices"})
    samples, curves, funnels = _samples(folder), _curves(folder, _stages(root, system)), _funnels(root, system)
    parts = {"samples": samples, "training curves": curves, "records kept and rejected": funnels}
    page = _template().render(
        system=system,
        missing=[name for name, part in parts.items() if not part],
        facts=facts(root, system),
        cautions=cautions(root, system, figures, _optional(folder / "verdict.json")),
        verdict=_verdict(folder / "verdict.json", root, system),
        headline=_headline(root, system, figures),
        groups=_groups(root, system, figures),
        slices=_slices(metrics),
        funnels=funnels,
        others=_other_metrics(folder),
        curves=curves,
        samples=samples,
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
    environment.filters["figure"] = shown
    return environment.get_template("report.html")


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _headline(root: Path, system: str, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The declared figures and all that have a bar, each with its bars and what stands beside it."""
    asked = bars(root, system)
    rows: list[dict[str, Any]] = [
        {
            "name": one.name,
            "means": one.means,
            "value": one.value,
            "lower": one.better == "lower",
            "trivial": one.trivial,
            "beside": one.beside,
            "lost": bool(one.lost),
        }
        for one in headline(root, system, figures)
    ]
    rest = [name for name in asked if name in figures and name not in {row["name"] for row in rows}]
    rows += [
        {"name": name, "means": "", "value": figures[name], "lower": False, "trivial": [], "beside": [], "lost": False}
        for name in rest
    ]
    return [{**row, "bars": [(bar, bar.met(row["value"])) for bar in asked.get(row["name"], [])]} for row in rows]


def _groups(root: Path, system: str, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """All figures under the titles that the room gives them, headline figures among them."""
    found = declared(root, system)
    names = sorted(figures, key=in_order)
    first = {name for figure, one in found.headline.items() for name in (figure, *one.trivial, *one.beside)}
    told = [name for name in names if name in first]
    grouped = [("Headline figures and what stands beside them", "", told)] if told else []
    grouped += [
        (group.title, group.means, members)
        for group, members in found.groups_of([name for name in names if name not in first])
    ]
    return [
        {"title": title, "means": means, "figures": {name: figures[name] for name in members}}
        for title, means, members in grouped
    ]


def _slices(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A bar chart for every figure by slice: `slices: {name: {value: {count, figure}}}`."""
    from flows.charts import bars as drawn

    charts = []
    for name, groups in (metrics.get("slices") or {}).items():
        values = sorted(groups, key=in_order)
        for figure in [key for key in next(iter(groups.values()), {}) if key != "count"]:
            found = {f"{value} ({groups[value]['count']})": groups[value][figure] for value in values}
            charts.append({"title": f"{figure} by {name}", "svg": drawn(found, xlabel=figure)})
    return charts


def _stages(root: Path, system: str) -> dict[str, Any]:
    """The blocks of dvc.yaml by stage, without the system's name."""
    stages = read_yaml(root / "dvc.yaml").get("stages") or {}
    own = f"{system}-"
    return {name.removeprefix(own): block for name, block in stages.items() if name.startswith(own)}


def _stage_order(root: Path, system: str) -> list[str]:
    """Output folders of a system in the order of dvc.yaml."""
    outs = [out for block in _stages(root, system).values() for out in block.get("outs") or []]
    return [Path(out if isinstance(out, str) else next(iter(out))).name for out in outs]


def _funnels(root: Path, system: str) -> list[dict[str, Any]]:
    """Where records went, stage by stage."""
    from flows.charts import bars as drawn

    found = []
    for folder in _stage_order(root, system):
        manifest = _optional(root / "data" / system / folder / "manifest.json")
        if not manifest or not manifest.get("funnel"):
            continue
        counts = manifest["funnel"]
        records = {"in": counts["seen"], "kept": counts["kept"]}
        records |= {f"rejected: {reason}": count for reason, count in counts["rejected"].items()}
        records |= {f"quarantined: {reason}": count for reason, count in counts["quarantined"].items()}
        found.append({"title": folder, "svg": drawn(records, xlabel="records"), "splits": manifest["splits"]})
    return found


def _other_metrics(folder: Path) -> list[dict[str, Any]]:
    """Metrics files of other stages than evaluate (cleaning, …)."""
    known = {"metrics.json", "scores.json", "checked.json", "verdict.json"}
    paths = [
        path
        for path in sorted(folder.glob("*.json"))
        if path.name not in known and not path.name.endswith(illustrations.ENDINGS)
    ]
    found = [(path.stem, read_json(path)) for path in paths]
    return [{"title": title, "figures": flat(figures)} for title, figures in found if isinstance(figures, dict)]


def _curves(folder: Path, stages: Iterable[str]) -> list[dict[str, Any]]:
    """Charts of all curves in the order of the stages that wrote them."""
    from flows.curves import ENDING, charts

    paths = {path.name.removesuffix(ENDING): path for path in sorted(folder.glob(f"*{ENDING}"))}
    order = [stage for stage in stages if stage in paths]
    return [chart for stage in dict.fromkeys([*order, *paths]) for chart in charts(paths[stage])]


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


def _verdict(path: Path, root: Path, system: str) -> dict[str, Any] | None:
    """The gate's last word with what it measured as tables."""
    verdict = _optional(path)
    if verdict is None:
        return None
    section = read_yaml(root / "params.yaml").get(system) or {}
    metric = (section.get("promote") or {}).get("metric", "")
    return {**verdict, "tables": verdict_tables.tables(verdict["checks"], metric)}


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
        params = flat((block.get("params") or {}).get("params.yaml") or {})
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
