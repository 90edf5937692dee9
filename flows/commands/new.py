"""`genworks new SYSTEM`: write a room that runs, with its stages, params, schedule, comparisons and tests."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows import rooms
from flows.commands.answer import Answer


def run(arguments: argparse.Namespace, root: Path) -> Answer:
    room = rooms.prepare(root, arguments.system, arguments.kind)
    room.write(root)
    system = room.system
    steps = {
        f"genworks run {system}": "from its sample world to a champion",
        f"pytest tests/{system}": "its tests",
        f"components/{system}": "to make it yours: the world, the network, the measures",
    }
    data = {"system": system, "kind": room.kind, "written": list(room.files), "extended": list(room.configuration)}
    lines = [
        f"{system}: a room of kind {room.kind}, {len(room.files)} files in components/{system} and tests/{system};"
        f" blocks added to {', '.join(room.configuration)}",
        *(f"  {step}  # {what}" for step, what in steps.items()),
    ]
    return Answer({**data, "next": list(steps)}, "\n".join(lines))
