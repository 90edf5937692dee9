"""Whether what a room declares in figures.yaml is what its evaluation writes: a misspelt baseline would never be lost to."""

from pathlib import Path

from flows.figures import flat
from flows.headlines import declared

ROOT = Path(__file__).resolve().parents[1]


def unwritten(system, metrics, root=ROOT):
    """Names in the headline of figures.yaml, with what stands beside them, that are not among these metrics."""
    written = flat(metrics)
    headline = declared(root, system).headline
    names = {name for figure, one in headline.items() for name in (figure, *one.trivial, *one.beside)}
    return sorted(names - written.keys())
