"""Settings every test runs under: no telemetry, no network, threads that do not fight over two cores."""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault(
    "RAY_AUTH_MODE", "disabled"
)  # kept by a process from its first cluster on: one mode for all tests
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import settings

settings.register_profile("genworks", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("genworks")


@pytest.fixture(autouse=True)
def _own_import_path():
    """What a test adds to `sys.path` ends with it: MLflow puts the code of a model that it loads there for good, and processes
    that a later test spawns would import that instead of the project."""
    before = list(sys.path)
    yield
    sys.path[:] = before


def pytest_collection_modifyitems(items):
    """Files that start real parts come first, so that no worker is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
