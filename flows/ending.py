"""What a run came to, in ten lines at most: the rest stands in the reports, and in `--json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.base.paths import read_json
from flows.bars import bars
from flows.cautions import cautions
from flows.facts import in_words
from flows.figures import flat, shown
from flows.headlines import headline

if TYPE_CHECKING:
    from flows.dag import StagePlan
    from flows.pipeline import StageResult, Summary

MOST_LINES = 10
MOST_FIGURES = 4
# What is left out first where there are too many lines, and the words that stand for it.
_FIGURES, _REPORTS, _JUDGED, _NEEDED = range(4)
_INSTEAD = {
    _FIGURES: "figures: in the reports",
    _REPORTS: "reports: reports/SYSTEM/report.html",
    _JUDGED: "the other verdicts: genworks list",
}

Line = tuple[int, str]


def after_run(summary: Summary, root: Path) -> str:
    """How stages ended, the verdicts, what must be known beside them, figures, reports."""
    lines: list[Line] = [(_NEEDED, line) for line in _stages(summary.stages)]
    for system in summary.systems:
        metrics = summary.metrics.get(system) or {}
        lines += _judged(root, system, metrics, summary.promotions.get(system))
        if figures := _figures(root, system, metrics):
            lines.append((_FIGURES, f"{system}: {figures}"))
    lines += [(_NEEDED, error) for error in summary.errors]
    lines += [(_REPORTS, f"report: {root / path}") for path in summary.reports.values()]
    if summary.exit_code == 0:
        lines.append((_NEEDED, f"Done in {in_words(summary.seconds)}. Runs and models in the browser: genworks up"))
    return "\n".join(_fitted(lines))


def nothing_to_do(plans: list[StagePlan], verdicts: dict[str, dict[str, Any]], reports: list[Path], root: Path) -> str:
    """The same where every stage was up to date, without figures: this must cost nothing. What is said of models still holds."""
    lines: list[Line] = [(_NEEDED, f"Nothing to do: all {len(plans)} stages are up to date")]
    for system, verdict in verdicts.items():
        path = root / "reports" / system / "metrics.json"
        metrics = flat(read_json(path)) if path.is_file() else {}
        lines += _judged(root, system, metrics, verdict)
    lines += [(_REPORTS, f"report: {path}") for path in reports]
    return "\n".join(_fitted(lines))


def _stages(results: list[StageResult]) -> list[str]:
    """One line on all stages, and one for each that failed."""
    if not results:
        return []
    counts: dict[str, int] = {}
    for result in results:
        counts[result.state] = counts.get(result.state, 0) + 1
    line = f"{len(results)} stages: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    longest = max(results, key=lambda result: result.seconds)
    if longest.seconds:
        line += f"; longest {longest.stage} {in_words(longest.seconds)}"
    return [line, *(f"{result.stage} failed: {result.error}" for result in results if result.state == "failed")]


def _judged(root: Path, system: str, metrics: dict[str, Any], verdict: dict[str, Any] | None) -> list[Line]:
    lines: list[Line] = []
    told = said(system, verdict) if verdict is not None else ""
    if verdict is not None:
        lines.append((_NEEDED if verdict["exit_code"] else _JUDGED, told))
    noted = [
        one for one in cautions(root, system, metrics, verdict) if one not in told
    ]  # a verdict tells its own remarks
    return lines + [(_NEEDED, f"{system}: {one}") for one in noted]


def said(system: str, verdict: dict[str, Any]) -> str:
    """A verdict in one sentence."""
    why = "; ".join(verdict["reasons"])
    words = f"{system} version {verdict['candidate']['version']} {verdict['decision']}" + (f": {why}" if why else "")
    return str(verdict.get("said") or words)


def _figures(root: Path, system: str, metrics: dict[str, Any]) -> str:
    """The first headline figures with their bars and trivial baselines; the first of all where none are declared."""
    asked = bars(root, system)
    told = []
    for one in headline(root, system, metrics)[:MOST_FIGURES]:
        beside = [str(bar) for bar in asked.get(one.name, [])[:1]]
        beside += [f"{other.words} {shown(other.value)}" for other in one.trivial[:1]]
        told.append(f"{one.name} {shown(one.value)}" + (f" ({'; '.join(beside)})" if beside else ""))
    if told:
        return ", ".join(told)
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return ", ".join(f"{name} {shown(value)}" for name, value in list(numbers.items())[:MOST_FIGURES])


def _fitted(lines: list[Line]) -> list[str]:
    """Ten lines: whole kinds are left out, the least needed first, and said to be."""
    left_out: list[str] = []
    for kind, instead in _INSTEAD.items():
        if len(lines) + len(left_out) > MOST_LINES and any(kind == one for one, _ in lines):
            lines = [line for line in lines if line[0] != kind]
            left_out.append(instead)
    texts = [text for _, text in lines]
    room = MOST_LINES - len(left_out)
    if len(texts) > room:
        cut = len(texts) - room + 1
        texts = [*texts[: room - 2], f"… {cut} more lines, all of them: --json", texts[-1]]
    return [*texts, *left_out]
