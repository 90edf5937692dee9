"""The deployments of prefect.yaml: one per system, and one that really runs on a schedule, on PostgreSQL."""

from __future__ import annotations

import time

import pytest
import yaml

from flows import servers
from flows.child import Children
from flows.commands import up
from tests.flows.toy_project import REPOSITORY, dvc, runs_of
from tests.over_http import answer_of
from tests.postgres_server import postgres_server


def test_every_system_has_a_scheduled_deployment():
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    systems = {name.split("-")[0] for name in stages if name != "code"}
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert {d["name"] for d in deployments} == systems
    for deployment in deployments:
        assert deployment["parameters"]["systems"] == [deployment["name"]]
        assert deployment["schedules"][0]["cron"]
        path, function = deployment["entrypoint"].split(":")
        assert f"def {function}(" in (REPOSITORY / path).read_text()


@pytest.mark.slow
def test_deployment_runs_on_its_schedule_against_a_server_on_postgresql(fresh_toy, monkeypatch):
    root = fresh_toy
    (root / "flows").symlink_to(REPOSITORY / "flows")
    document = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
    deployment = document["deployments"][0]
    deployment |= {"name": "toy", "parameters": {"systems": ["toy"]}, "schedules": [{"interval": 4}]}
    (root / "prefect.yaml").write_text(yaml.safe_dump(document))
    children = Children()
    port = servers.free_port()
    api = f"http://127.0.0.1:{port}/api"
    with postgres_server() as postgres:
        url = postgres.url("prefect", driver="postgresql+asyncpg")
        monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", url)
        monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "2")
        monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
        log, worker_log = root / "server.log", root / "worker.log"
        try:
            with log.open("w") as file, worker_log.open("w") as worker_file:
                server = servers.start_prefect(root, children, port, file, login=None)
                servers.wait_until(f"{api}/health", server, "Prefect", log)
                server_api = servers.PrefectApi(api, lambda: None)
                up._deploy(root, children, server_api, root / "deploy.log")
                up.start_worker(root, children, server_api, worker_file)
                run = completed_run(api, worker_log)
        finally:
            children.stop_all()
    assert run["auto_scheduled"]
    assert sorted(runs_of(root)) == ["double", "join", "make", "square"]
    assert dvc(root, "status").stdout.split() == ["code:", "always", "changed"]


def completed_run(api, log, seconds=100.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        wanted = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
        ended = answer_of(f"{api}/flow_runs/filter", {"flow_runs": wanted, "sort": "START_TIME_ASC"})
        if ended:
            assert ended[0]["state_type"] == "COMPLETED", f"{ended[0]['state']}\n{log.read_text()[-3000:]}"
            return ended[0]
        time.sleep(0.5)
    raise AssertionError(f"no scheduled run ended; the worker said:\n{log.read_text()[-3000:]}")
