"""The ASGI app that our uvicorn serves: Prefect's or MLflow's own app behind a guard.

Prefect's API starts programs, and MLflow's writes models. Prefect checks the login itself, on its web sockets too.
"""

from __future__ import annotations

import base64
import os

from components.engines.base.guard import App, Guard

APP, PORT, LOGIN = "GENWORKS_GUARDED_APP", "GENWORKS_GUARDED_PORT", "GENWORKS_GUARDED_LOGIN"


def create() -> App:
    """The app that the environment names (`module:app`, or `module:factory()`), guarded; the login is `user:password`."""
    from uvicorn.importer import import_from_string

    login = os.environ.pop(LOGIN, None)
    name = os.environ[APP]
    app = import_from_string(name.removesuffix("()"))
    header = None if login is None else b"Basic " + base64.b64encode(login.encode())
    return Guard(app() if name.endswith("()") else app, int(os.environ[PORT]), header, "Log in as `genworks up` says.")
