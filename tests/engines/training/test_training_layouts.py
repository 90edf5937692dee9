"""Every layout trains what one process trains; what one layout saved, another resumes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toy_fits import fit_here, training

from components.engines.base.errors import UsageError
from components.engines.training.loop import finished_fit
from components.engines.training.parallel.layout import Layout, settle

NETWORKS, GAN = "toy_networks", "toy_gan"
SETTINGS = {"max_steps": 20, "accumulation_steps": 2, "learning_rate": 3e-3, "score_every": 10, "ema_decay": 0.9}
PLAIN_GAN = {"noise_on_device": False, "batch_norm": False}
FAMILIES = ("decoder", "encoder_decoder", "dit")
TWO = {
    "data": {},
    "zero 3": {"sharded": 2},
    "zero 2": {"sharded": 2, "zero_stage": 2},
    "zero 1": {"sharded": 2, "zero_stage": 1},
    "tensor": {"tensor": 2},
    "pipeline 1f1b": {"pipeline": 2},
    "pipeline gpipe": {"pipeline": 2, "schedule": "gpipe"},
}
FOUR = {
    "data × sharded": {"data": 2, "sharded": 2},
    "data × zero 1": {"data": 2, "sharded": 2, "zero_stage": 1},
    "data × tensor": {"data": 2, "tensor": 2},
    "data × pipeline": {"data": 2, "pipeline": 2},
    "pipeline of four": {"pipeline": 4, "schedule": "gpipe"},
}


def run(processes, fits, folder):
    """All fits in the same processes; `fits` are (module, arguments, settings, work)."""
    listed = [[module, arguments, settings.model_dump(mode="json"), str(work)] for module, arguments, settings, work in fits]
    (folder / "fits.json").write_text(json.dumps(listed))
    script = str(Path(__file__).with_name("toy_layouts.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
    done = subprocess.run([*command, str(folder / "fits.json")], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[:6000]
