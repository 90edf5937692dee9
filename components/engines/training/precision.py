"""Number formats, determinism and threads: set for the length of one fit, then put back."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from components.engines.base.errors import UsageError
from components.engines.training.params import Training

log = logging.getLogger("genworks")

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(training: Training, device: torch.device) -> AbstractContextManager[object]:
    """What the forward pass runs under. bf16 has the exponents of fp32; fp16 has fewer and needs a scaled loss."""
    if training.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=HALVES[training.precision])


def check_precision(training: Training, device: torch.device) -> None:
    """Refuse a number format that the GPU lacks; say so if the CPU has to imitate it."""
    name = training.precision
    if name == "fp32":
        return
    if device.type == "cuda":
        if name == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UsageError(
                f"precision: bf16, but {torch.cuda.get_device_name(device)} cannot compute in it",
                do="set precision: fp16 or fp32, or use a GPU of compute capability 8.0 or newer",
            )
    elif not any(name in instruction and has for instruction, has in torch.cpu.get_capabilities().items()):
        log.warning("precision %s is slow here: this CPU has no instructions for it", name)


@contextmanager
def numerics(training: Training) -> Iterator[None]:
    """Torch threads and the choice between repeatable and fast kernels."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill, benchmark = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    matmul = torch.get_float32_matmul_precision()
    try:
        if training.num_threads is not None:
            torch.set_num_threads(training.num_threads)
        if training.fast:
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        else:
            # cuBLAS is repeatable only with a fixed workspace (NVIDIA cuBLAS, "Results reproducibility")
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs time
            torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = benchmark
        torch.set_float32_matmul_precision(matmul)
