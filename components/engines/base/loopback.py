"""This machine is reached directly: no request to it may go through the proxy that the environment names."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def reach_directly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Add loopback to NO_PROXY and no_proxy (libraries read one or the other) of this or a child's environment."""
    told = [environment.get(name, "") for name in ("NO_PROXY", "no_proxy")]
    exempt = list(dict.fromkeys(host.strip() for text in told for host in text.split(",") if host.strip()))
    if "*" not in exempt:
        exempt += [host for host in LOOPBACK if host not in exempt]
    environment["NO_PROXY"] = environment["no_proxy"] = ",".join(exempt)
