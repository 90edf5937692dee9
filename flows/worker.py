"""`python -m flows.worker`: runs the deployments of prefect.yaml, and nothing else that the server asks for.

Prefect's own worker does what the API tells it: a deployment may name any program, variables of its environment and shell
steps before it. This one takes from the API only which of our deployments is due and with which parameters; command, folder
and environment are its own, and a deployment that differs from prefect.yaml is refused.

`python -m flows.worker run` is that command: one run of our flow, under the id that the environment gives.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.workers.process import ProcessWorker, ProcessWorkerResult

from components.engines.base.errors import StageError
from components.engines.base.params import read_yaml
from flows.commands.up import POOL
from flows.project import open_project

ENTRYPOINT = "flows/pipeline.py:pipeline"
DIRECTORY_STEP = "prefect.deployments.steps.set_working_directory"  # what `prefect deploy` notes without being asked


def refusal(root: Path, name: str, entrypoint: str | None, pull_steps: Any, variables: dict[str, Any]) -> str | None:
    """Why a deployment is not one of prefect.yaml's, None if it is."""
    declared = {one["name"]: one for one in read_yaml(root / "prefect.yaml").get("deployments") or []}
    if name not in declared:
        return f"prefect.yaml has no deployment '{name}'"
    if entrypoint != ENTRYPOINT or declared[name].get("entrypoint") != ENTRYPOINT:
        return f"deployment '{name}' runs {entrypoint}, not {ENTRYPOINT}"
    if (pull_steps or []) not in ([], [{DIRECTORY_STEP: {"directory": str(root)}}]):
        return f"deployment '{name}' has steps of its own before the flow"
    if variables:
        return f"deployment '{name}' sets {', '.join(sorted(variables))} for its process"
    return None


class ProjectWorker(ProcessWorker):
    """Starts `python -m flows.worker run` for a due deployment of prefect.yaml."""

    type = "process"

    async def run(self, flow_run: Any, configuration: Any, task_status: Any = None) -> ProcessWorkerResult:
        root = open_project()
        if flow_run.deployment_id is None:
            raise StageError("Not run: it belongs to no deployment of prefect.yaml")
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        variables = {**deployment.job_variables, **(flow_run.job_variables or {})}
        why = refusal(root, deployment.name, deployment.entrypoint, deployment.pull_steps, variables)
        if why is not None:
            raise StageError(f"Not run: {why}", do="prefect --no-prompt deploy --all")
        async with FlowRunExecutorContext() as context:
            starter = EngineCommandStarter(
                command=f"{shlex.quote(sys.executable)} -m flows.worker run",
                cwd=root,
                control_channel=context.control_channel,
            )
            executor = context.create_executor(flow_run, starter, resolve_flow=_our_flow, propose_submitting=False)
            done = await executor.submit(**({"task_status": _Pid(task_status)} if task_status else {}))
        if done is None or done.status_code is None:
            raise StageError("The process of the flow did not start")
        return ProcessWorkerResult(status_code=done.status_code, identifier=str(done.handle.pid))


class _Pid:
    """Hands on the process number, which is what a worker tells of the handle it is given."""

    def __init__(self, status: Any) -> None:
        self.status = status

    def started(self, handle: Any) -> None:
        self.status.started(handle.pid)


async def _our_flow(_: Any) -> Any:
    from flows.pipeline import pipeline

    return pipeline


def run_flow_of_environment() -> None:
    """What `prefect.engine` does, with our flow in place of the one that the API names."""
    from prefect._internal.control_listener import configure_from_env
    from prefect.engine import handle_engine_signals
    from prefect.flow_engine import load_flow_run, run_flow

    flow_run_id = UUID(os.environ["PREFECT__FLOW_RUN_ID"])
    configure_from_env()
    with handle_engine_signals(flow_run_id):
        from flows.pipeline import pipeline

        flow_run = load_flow_run(flow_run_id=flow_run_id)
        run_flow(pipeline, flow_run=flow_run, parameters=flow_run.parameters)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.worker")
    parser.add_argument("what", nargs="?", choices=["serve", "run"], default="serve")
    parser.add_argument("--with-healthcheck", action="store_true", help="answer on PREFECT_WORKER_WEBSERVER_PORT")
    arguments = parser.parse_args()
    if arguments.what == "run":
        run_flow_of_environment()
    else:
        asyncio.run(ProjectWorker(work_pool_name=POOL).start(with_healthcheck=arguments.with_healthcheck))


if __name__ == "__main__":
    main()
