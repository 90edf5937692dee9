"""A mapper and a training task that write down where they are: node, GPUs, rank."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist
from toy_faults import FaultyLanguageModel


def note(folder, name):
    import ray

    context = ray.get_runtime_context()
    place = {"node": context.get_node_id(), "gpus": context.get_accelerator_ids().get("GPU", [])}
    (Path(folder) / f"{name}-{os.getpid()}.json").write_text(json.dumps(place))


@dataclass
class Placed:
    folder: str
    batch_size: int = 4

    def __post_init__(self):
        if self.folder:
            note(self.folder, "mapper")

    def decode(self, sample):
        return sample

    def apply(self, items):
        return [{"__key__": item["__key__"], "txt": item["txt"]} for item in items]


def make_task(folder, fault="", at=0):
    note(folder, f"rank{dist.get_rank()}")
    return FaultyLanguageModel(fault, at, 1, 0.0, "")
