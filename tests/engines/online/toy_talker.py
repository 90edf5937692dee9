"""A process that talks in a session: `python toy_talker.py URL NAME FIRST LAST [begin]`; with `begin` the last stays open."""

import sys

from components.engines.online.database import Database
from components.engines.online.sessions import Sessions


def main(url, name, first, last, *more):
    sessions = Sessions(Database(url))
    for number in range(first, last):
        key = f"{name}-{number}"
        sessions.begin("ann", "work", key, [{"role": "user", "content": f"question {key}"}])
        if "begin" not in more or number < last - 1:
            sessions.finish("ann", "work", key, f"answer {key}", id=f"ans {key}", finish="stop")
        print(number, flush=True)
    if "begin" in more:
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
