"""Two nodes (`ray start`), driven from a head that has neither CPU nor GPU to give: work goes where it was asked to go."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from toy_fits import training
from toy_places import Placed, make_task
from toy_shards import write_toy

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import digest_path
from components.engines.shards.map_shards import map_shards
from components.engines.training.launch import launch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@contextmanager
def ray_node(log, *arguments):
    """`ray start`, as a user would; its processes are a group of their own, which ends with the block."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *arguments]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """(address, id of the node that has 4 CPUs and 2 GPUs, which nobody looks at closely)"""
    import ray

    logs = tmp_path_factory.mktemp("nodes")
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    address = f"{ray.util.get_node_ip_address()}:{port}"
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else a token of this user's is made and asked for
        temporary = stack.enter_context(TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True))
        nothing = ("--num-cpus=0", "--num-gpus=0", "--include-dashboard=false")
        stack.enter_context(ray_node(logs / "head", "--head", f"--port={port}", f"--temp-dir={temporary}", *nothing))
        stack.enter_context(ray_node(logs / "other", f"--address={address}", "--num-cpus=4", "--num-gpus=2"))
        ray.init(address, log_to_driver=False)
        (other,) = [node["NodeID"] for node in ray.nodes() if node["Resources"].get("GPU") == 2]
        ray.shutdown()
        yield address, other


@pytest.fixture(autouse=True)
def driver(nodes, monkeypatch, caplog):
    """A process on the head, as a user's: it has joined nothing yet, and is told of the cluster by its environment."""
    import ray.train.torch

    monkeypatch.setenv("RAY_ADDRESS", nodes[0])
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
    gloo = ray.train.torch.TorchConfig(backend="gloo")  # what is no GPU speaks no NCCL
    monkeypatch.setattr(ray.train.torch, "TorchTrainer", partial(ray.train.torch.TorchTrainer, torch_config=gloo))
    caplog.set_level(logging.INFO, logger="genworks")
    yield
    assert not ray.is_initialized()


@pytest.fixture
def places(tmp_path):
    folder = tmp_path / "places"
    folder.mkdir()
    return folder


@pytest.fixture
def src(tmp_path):
    write_toy(tmp_path / "src")
    return tmp_path / "src"


def told(places):
    return [json.loads(path.read_text()) for path in sorted(places.iterdir())]


def test_map_workers_share_the_clusters_gpus(nodes, src, places, tmp_path, caplog):
    mapper = partial(Placed, str(places))
    map_shards(mapper, src, tmp_path / "dst", work=tmp_path / "work", workers=3, resources={"CPU": 1, "GPU": "auto"})
    found = told(places)
    assert {place["node"] for place in found} == {nodes[1]}
    assert {gpu for place in found for gpu in place["gpus"]} <= {"0", "1"}
    assert all(len(place["gpus"]) == 1 for place in found)
    assert "Mapping by 3 workers on the cluster at" in caplog.text
    assert "each with 1 CPU, 0.5 GPU" in caplog.text
    expected = tmp_path / "expected"
    map_shards(partial(Placed, ""), src, expected, work=tmp_path / "other")
    assert digest_path(tmp_path / "dst") == digest_path(expected)


def test_training_takes_the_clusters_gpus_though_the_driver_has_none(nodes, places, tmp_path, caplog):
    settings = training(num_workers="auto", max_steps=4)
    launch(partial(make_task, str(places)), settings, work=tmp_path / "work")
    assert [place["node"] for place in told(places)] == [nodes[1]] * 2
    assert sorted(place["gpus"] for place in told(places)) == [["0"], ["1"]]
    assert f"Training on 2 workers with 1 GPU each, on the cluster at {nodes[0]}" in caplog.text


def test_what_the_cluster_can_never_hold_is_refused_at_once_with_the_numbers(src, places, tmp_path):
    started = time.monotonic()
    with pytest.raises(
        UsageError, match=r"16 workers with 1 GPU each do not fit .* holds 2 .* 4 CPU, 2 GPU on 2 nodes"
    ):
        launch(partial(make_task, str(places)), training(num_workers=16), work=tmp_path / "work")
    for resources, words in (({"CPU": 5}, "5 CPU each"), ({"CPU": 1, "GPU": 1.5}, "1 CPU, 1.5 GPU each")):
        with pytest.raises(UsageError, match=f"2 workers with {words} do not fit"):
            map_shards(
                partial(Placed, str(places)),
                src,
                tmp_path / "dst",
                work=tmp_path / "map",
                workers=2,
                resources=resources,
            )
    assert time.monotonic() - started < 20
    assert not told(places)


def test_waiting_for_what_others_hold_ends(nodes, src, places, tmp_path):
    import ray

    ray.init(nodes[0], log_to_driver=False, namespace="others")

    @ray.remote(num_gpus=2, num_cpus=0)
    class Greedy:
        def ready(self): ...

    greedy = Greedy.options(lifetime="detached", name="greedy").remote()
    ray.get(greedy.ready.remote())
    ray.shutdown()
    try:
        settings = training(num_workers=2, resources_timeout_s=1.5)
        with pytest.raises(StageError, match=r"No room for 2 × 1 GPU on .* within 1.5 s .*free now: 4 CPU"):
            launch(partial(make_task, str(places)), settings, work=tmp_path / "work")
        with pytest.raises(StageError, match=r"No room for a map worker with 1 CPU, 1 GPU on .* within 1.5 s"):
            map_shards(
                partial(Placed, str(places)),
                src,
                tmp_path / "dst",
                work=tmp_path / "map",
                workers=2,
                resources={"CPU": 1, "GPU": 1},
                resources_timeout_s=1.5,
            )
    finally:
        ray.init(nodes[0], log_to_driver=False, namespace="others")
        ray.kill(ray.get_actor("greedy"))
        ray.shutdown()
    assert not told(places)


def test_a_failure_that_would_come_again_is_not_tried_again(places, tmp_path):
    settings = training(num_workers=2, max_steps=20, max_failures=3)
    with pytest.raises(StageError, match="lm_loss is nan"):
        launch(partial(make_task, str(places), "nan", 3), settings, work=tmp_path / "work")
    assert sorted(place["gpus"] for place in told(places)) == [["0"], ["1"]]  # each rank built its task once
