"""How many floating-point operations a second a device can do at best: what MFU is measured against."""

from __future__ import annotations

import re
import time
from functools import cache

import torch

from components.engines.training.params import Training

# TFLOP/s, dense, with accumulation in fp32, from NVIDIA's data sheets and architecture white papers (where they print
# figures with 2:4 sparsity, half of those). A pattern matches the whole of torch.cuda.get_device_name; variants that are not
# listed (A10G, RTX 4090 D, laptop chips, MIG slices) have other peaks, and none here.
_TABLE: list[tuple[str, dict[str, float]]] = [
    (r"NVIDIA B200", {"bf16": 2250, "fp16": 2250, "tf32": 1100, "fp32": 75}),
    (r"NVIDIA H200( 141GB HBM3e)?", {"bf16": 989, "fp16": 989, "tf32": 494.5, "fp32": 67}),
    (r"NVIDIA H100 80GB HBM3", {"bf16": 989, "fp16": 989, "tf32": 494.5, "fp32": 67}),
    (r"NVIDIA H100 PCIe", {"bf16": 756, "fp16": 756, "tf32": 378, "fp32": 51}),
    (
        r"(NVIDIA )?A100-(SXM4|PCIE)-[48]0GB|NVIDIA A100 80GB PCIe",
        {"bf16": 312, "fp16": 312, "tf32": 156, "fp32": 19.5},
    ),
    (r"NVIDIA L4", {"bf16": 121, "fp16": 121, "tf32": 60, "fp32": 30.3}),
    (r"NVIDIA A10", {"bf16": 125, "fp16": 125, "tf32": 62.5, "fp32": 31.2}),
    (r"NVIDIA GeForce RTX 4090", {"bf16": 165.2, "fp16": 165.2, "tf32": 82.6, "fp32": 82.6}),
    (r"Tesla V100-SXM[23]-(16|32)GB", {"fp16": 125, "fp32": 15.7}),
    (r"Tesla V100-PCIE-(16|32)GB", {"fp16": 112, "fp32": 14}),
    (r"Tesla T4", {"fp16": 65, "fp32": 8.1}),
]
_SIDE, _SECONDS = 1024, 0.3  # of the square matrices that measure a peak, and for how long at most


def peak_flops(training: Training, device: torch.device) -> float | None:
    """FLOP/s of one device in the number format of this run: as params say, as the table has it, else None."""
    if training.peak_tflops == "measure":
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(training.precision, torch.float32)
        return measured_peak(device, dtype, torch.get_num_threads())
    if training.peak_tflops is not None:
        return training.peak_tflops * 1e12
    if device.type != "cuda":
        return None
    peak = listed_peak(torch.cuda.get_device_name(device), format_of(training))
    return None if peak is None else peak * 1e12


def format_of(training: Training) -> str:
    """What matrix products are computed in: `fast` lets fp32 ones round their operands to TF32 (precision.py)."""
    if training.precision == "fp32":
        return "tf32" if training.fast else "fp32"
    return training.precision


def listed_peak(name: str, number_format: str) -> float | None:
    """Dense TFLOP/s of the device of this name, None if it is not listed or has no unit for this format."""
    found = next((row for pattern, row in _TABLE if re.fullmatch(pattern, name)), {})
    if number_format == "tf32" and "tf32" not in found:
        number_format = "fp32"  # before Ampere there is no TF32, and the setting changes nothing
    return found.get(number_format)


@cache
def measured_peak(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """FLOP/s of the best of a few square matrix products here (a CPU's real peak depends on clock, threads and neighbours).

    `threads` only tells measurements apart: torch uses as many as it is set to.
    """
    a = torch.ones(_SIDE, _SIDE, device=device, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    with torch.no_grad():
        (a @ a)[0, 0].item()  # the first one also pays for setting up
        while time.perf_counter() < end:
            begin = time.perf_counter()
            (a @ a)[0, 0].item()
            best = min(best, time.perf_counter() - begin)
    return 2 * _SIDE**3 / best
