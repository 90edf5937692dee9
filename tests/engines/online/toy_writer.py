"""A process that writes events: `python toy_writer.py URL FIRST LAST` says `n` when event n is on disk."""

import sys

from components.engines.online.database import Database
from components.engines.online.events import Shown, event
from components.engines.online.log import EventLog


def shown(number, subject=None):
    return event(Shown(system="toy", version=1, answer=f"a{number}"), id=f"e{number}", subject=subject)


def main(url, first, last):
    log = EventLog(Database(url))
    for number in range(first, last):
        log.append([shown(number)])
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
