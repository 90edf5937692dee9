"""A node is lost, a worker is killed, the driver is told to end: one run through all of it, and the same result."""

import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from toy_fits import WORKER_SCRIPT, finish, maker, outcome, start, training

from components.engines.base.errors import Stopped
from components.engines.training.checkpoints import store
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.faults.failures import failure_of, is_final
from components.engines.training.launch import launch

HERE = str(Path(__file__).parent)
TOY = "toy_faults"
SETTINGS = {"max_steps": 300, "ema_decay": 0.9, "score_every": 50, "checkpoint_every": 5, "log_every": 10}


@pytest.fixture
def nodes():
    """A Ray cluster of three local nodes: the driver's, where nothing else runs, and two with room for both workers."""
    import ray
    from ray.cluster_utils import Cluster

    with ExitStack() as stack:
        before = signal.getsignal(signal.SIGTERM)
        stack.callback(signal.signal, signal.SIGTERM, before)  # each node sets one of its own
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        stack.callback(cluster.shutdown)
        paths = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")]))
        ray.init(cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
        stack.callback(ray.shutdown)
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        yield cluster


class Trouble(threading.Thread):
    """Waits for the run to get on, and makes the next trouble for it; in the end the driver is told to stop."""

    def __init__(self, cluster, work: Path, pids: Path) -> None:
        super().__init__(daemon=True)
        self.cluster, self.work, self.pids = cluster, work, pids
        self.survived, self.over = [], threading.Event()  # over: the launch is, and so is this process's part in it

    def run(self) -> None:
        try:
            self.get_on()
            self.cluster.remove_node(self.node_of(self.worker(0)), allow_graceful=False)
            self.get_on()
            os.kill(self.worker(1), signal.SIGKILL)
            self.get_on()
        finally:
            for _ in range(2):  # a second one ends at once what does not end by itself
                if not self.over.is_set():
                    os.kill(os.getpid(), signal.SIGTERM)
                self.over.wait(60)

    def worker(self, rank: int) -> int:
        newest = max(self.pids.glob(f"{rank}-*"), key=lambda path: path.stat().st_mtime_ns)
        return int(newest.name.split("-")[1])

    def node_of(self, pid: int):
        raylet = psutil.Process(pid).ppid()
        return next(node for node in self.cluster.worker_nodes if node.all_processes["raylet"][0].process.pid == raylet)

    def get_on(self) -> None:
        """Until both workers of the next attempt are up and have saved something, and a little longer."""
        self.wait(lambda: len(list(self.pids.iterdir())) == 2 * (len(self.survived) + 1), "the workers did not come up")
        known = self.newest()
        self.wait(lambda: self.newest() > known, f"nothing was saved after step {known}")
        self.survived.append(self.newest())
        time.sleep(random.uniform(0, 0.5))

    def newest(self) -> int:
        return max([0, *store.saved_steps(self.work / "checkpoints")])

    def wait(self, condition, words: str) -> None:
        deadline = time.monotonic() + 100
        while not condition():
            assert not self.over.is_set(), words
            assert time.monotonic() < deadline, words
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_lost_nodes_killed_workers_and_a_told_driver_change_nothing_in_the_result(tmp_path, nodes):
    settings = training(**SETTINGS, num_workers=2, max_failures=2)
    work, pids = tmp_path / "troubled", tmp_path / "pids"
    pids.mkdir()
    whole = start(TOY, settings, tmp_path / "whole", processes=2)
    trouble = Trouble(nodes, work, pids)
    trouble.start()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(
            Stopped, match=r"Training stopped after step \d+, as it was told to; the step is saved"
        ) as error:
            launch(maker(TOY, pause=0.1, pids=str(pids)), settings, work=work)
    finally:
        trouble.over.set()  # else its signals reach this process amid another test
        trouble.join(10)
    assert len(trouble.survived) == 3, "the run did not outlive every trouble"
    assert len(list(pids.iterdir())) == 3 * 2  # one process a rank and attempt
    assert signal.getsignal(signal.SIGTERM) is handler
    saved = store.saved_steps(work / "checkpoints")[-1]
    assert f"after step {saved}," in str(error.value)
    finish(start(TOY, settings, work, processes=2))  # under torchrun this time: the same two ranks
    finish(whole)
    assert outcome(finished_fit(work, settings)) == outcome(finished_fit(tmp_path / "whole", settings))


@pytest.mark.slow
def test_a_worker_whose_group_is_closed_amid_its_work_may_pass(tmp_path):
    """Ray closes the groups of all workers when one is lost; it starts anew only what did not fail for good."""
    settings = training(num_workers=2, checkpoint_every=2)
    process = start(TOY, settings, tmp_path, processes=2, script=WORKER_SCRIPT, fault="no group", at=6, rank=1)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert (tmp_path / "failure-1.json").exists()
    assert not is_final(tmp_path), failure_of(tmp_path)
