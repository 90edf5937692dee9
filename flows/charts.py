"""Charts of the report as inline SVG: no scripts, no fonts to fetch, equal figures give equal bytes."""

from __future__ import annotations

import io
from typing import Any

FEW = 12  # points that are marked: a lone one would not be seen
INK, SOFT = "#1f2933", "#9aa5b1"
COLOURS = ("#2f6f9f", "#c2703d", "#4f8a5b", "#8a5a9e", "#a33b4a")


def lines(series: dict[str, list[tuple[float, float]]], *, xlabel: str, logarithmic: bool = False) -> str:
    """Named series of (x, y) over one pair of axes."""
    figure, axes = _axes(5.2, 2.8)
    for (name, points), colour in zip(series.items(), COLOURS * (1 + len(series) // len(COLOURS)), strict=False):
        marker = "o" if len(points) <= FEW else None
        axes.plot(*zip(*points, strict=True), label=name, color=colour, linewidth=1.6, marker=marker, markersize=3)
    if logarithmic:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def bars(values: dict[str, float], *, xlabel: str) -> str:
    """Horizontal bars, one a name, with their values written beside them."""
    figure, axes = _axes(5.2, 0.5 + 0.32 * len(values))
    names = list(values)[::-1]
    drawn = axes.barh(names, [values[name] for name in names], color=COLOURS[0], height=0.62)
    axes.bar_label(drawn, [f"{values[name]:,.6g}" for name in names], padding=3, fontsize=8)
    axes.margins(x=0.16)
    axes.set_xlabel(xlabel)
    return _svg(figure)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    axes.xaxis.label.set_fontsize(8)
    axes.grid(axis="both", color=SOFT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "genworks", "svg.fonttype": "none", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
