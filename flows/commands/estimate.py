"""`genworks estimate SYSTEM`: time, memory and cost of its stages, from a few steps of each that trains."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flows import dag
from flows.child import Children
from flows.commands.answer import Answer, table
from flows.estimate import Forecast, cost_of, estimate, total
from flows.interrupt import stopping


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    children = Children()
    with stopping(children):
        forecasts = estimate(dag.load(root), arguments.system, children, lambda line: print(line, file=sys.stderr))
    price = arguments.price_per_hour
    whole = total(forecasts, price)
    data = {
        "system": arguments.system,
        "price_per_hour": price,
        "stages": [one.as_dict(price) for one in forecasts],
        "total": whole,
    }
    rows = [
        [one.stage, _time(one.seconds), _memory(one.peak_memory_mb), _cost(cost_of(one.seconds, price)), _why(one)]
        for one in forecasts
    ]
    last = f"without {', '.join(whole['without'])}" if whole["without"] else ""
    rows.append(["total", _time(whole["seconds"]), _memory(whole["peak_memory_mb"]), _cost(whole["cost"]), last])
    return Answer(data, table(rows))


def _why(forecast: Forecast) -> str:
    if forecast.needs:
        return f"run {', '.join(forecast.needs)} first"
    if forecast.source == "unknown":
        return "has not run here"
    counted = [f"{part.count} {part.name} × {part.seconds_each:.3g} s" for part in forecast.parts if part.count]
    rates = [f"{value:.3g} {name.replace('_per_second', '/s')}" for name, value in forecast.rates.items()]
    return "; ".join([forecast.source, " + ".join(counted), ", ".join(rates)]).rstrip("; ")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _memory(megabytes: float | None) -> str:
    return "" if megabytes is None else f"{megabytes / 1000:.1f} GB"


def _cost(cost: float | None) -> str:
    return "" if cost is None else f"{cost:.2f}"
