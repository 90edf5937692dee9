"""Where a fit runs is decided by the cluster that is there; what is no loss of a worker is not tried again. No Ray here."""

import errno
import logging
import math

import pytest
import torch
from toy_fits import training

from components.engines.base import cluster
from components.engines.base.errors import StageError, Stopped, Transient, UsageError
from components.engines.training.faults.failures import may_pass
from components.engines.training.placement import Placement, on_cluster, stays_here


class FakeRay:
    """A cluster as Ray tells of it, by the resources of its nodes."""

    def __init__(self, *nodes):
        self.there = list(nodes)

    def nodes(self):
        return [{"Alive": True, "Resources": node} for node in self.there]

    def cluster_resources(self):
        return {name: sum(node.get(name, 0) for node in self.there) for node in self.there for name in node}


HEAD, GPU_NODE, CPU_NODE = {"CPU": 0.0}, {"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0}


@pytest.fixture(autouse=True)
def named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.delenv(cluster.LIMITS, raising=False)


@pytest.mark.parametrize(
    ("asked", "nodes", "found"),
    [
        ("auto", [HEAD, GPU_NODE, GPU_NODE], Placement(8, True)),
        (8, [HEAD, GPU_NODE, GPU_NODE], Placement(8, True)),
        (8, [HEAD, CPU_NODE], Placement(8, False)),
    ],
)
def test_workers_and_gpus_are_the_clusters(asked, nodes, found, caplog):
    with caplog.at_level(logging.INFO, logger="genworks"):
        assert on_cluster(training(num_workers=asked), FakeRay(*nodes)) == found
    assert f"Training on 8 workers with 1 {'GPU' if found.use_gpu else 'CPU'} each" in caplog.text


def test_too_many_workers_are_refused_with_the_numbers():
    with pytest.raises(UsageError, match=r"5 workers with 1 GPU each do not fit .* holds 4 .* 8 CPU, 4 GPU on 2 nodes"):
        on_cluster(training(num_workers=5), FakeRay(HEAD, GPU_NODE))
    with pytest.raises(
        UsageError, match="num_workers: auto asks for a worker per GPU, but the cluster at head:6379 has"
    ):
        on_cluster(training(num_workers="auto"), FakeRay(HEAD, CPU_NODE))


def test_a_cluster_that_grows_is_counted_as_large_as_it_may_become(monkeypatch):
    monkeypatch.setenv(cluster.LIMITS, "GPU=8, CPU=64")
    assert on_cluster(training(num_workers="auto"), FakeRay(HEAD)) == Placement(8, True)
    with pytest.raises(UsageError, match=r"holds 8 of them at most.*may grow to 64 CPU, 8 GPU"):
        on_cluster(training(num_workers=9), FakeRay(HEAD))
    monkeypatch.setenv(cluster.LIMITS, "eight")
    with pytest.raises(UsageError, match="'eight' are no limits"):
        on_cluster(training(num_workers=9), FakeRay(HEAD))


def test_auto_never_means_this_process_where_a_cluster_is_named(monkeypatch, caplog):
    assert not stays_here(training(num_workers="auto"))
    assert stays_here(training(num_workers=0))
    monkeypatch.delenv("RAY_ADDRESS")
    with caplog.at_level(logging.INFO, logger="genworks"):
        assert stays_here(training(num_workers="auto"))
    assert "in this process on the CPU: this machine has no GPU" in caplog.text


@pytest.mark.parametrize(("workers", "gpus", "share"), [(8, 2, 0.25), (8, 3, 0.3333), (2, 4, 1.0), (4, 0, 0.0)])
def test_workers_share_gpus_so_that_all_of_them_fit(workers, gpus, share):
    found = cluster.share_of_gpus(FakeRay({"GPU": float(gpus)}), workers)
    assert found == share
    assert not gpus or workers <= gpus * math.floor(1 / found)


def test_only_what_may_be_gone_next_time_is_tried_again():
    passing = [
        Transient("rank 1 did not arrive"),
        ConnectionResetError("by peer"),
        TimeoutError("read"),
        RuntimeError("[gloo/transport/tcp/pair.cc:1] Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL error"),
    ]
    staying = [
        StageError("lm_loss is nan"),
        UsageError("batch_size"),
        Stopped("told to"),
        KeyError("caption"),
        ValueError("bad sample"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"),
        torch.OutOfMemoryError("CUDA out of memory"),
        OSError(errno.ENOSPC, "No space left on device"),
    ]
    assert [may_pass(error) for error in passing + staying] == [True] * len(passing) + [False] * len(staying)
