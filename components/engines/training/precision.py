"""Number formats, determinism and threads: set for the length of one fit, then put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from components.engines.training.params import Training


def autocast(training: Training, device: torch.device) -> AbstractContextManager[object]:
    """What the forward pass runs under: bf16 needs no loss scaling (8 exponent bits, as fp32 has)."""
    if training.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


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
