"""Memory that comes again is not asked of the system again."""

import platform
import subprocess
import sys

import pytest

ALLOCATE = """
import resource, sys, threading
import torch
from components.engines.base.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    for _ in range(100):
        activations = torch.ones(1_000_000)  # 4 MB, as are the next two
        more = activations.exp()
        total = more + activations
        del activations, more, total
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_tensors_that_come_and_go_cost_few_page_faults():
    def faults(how):
        done = subprocess.run([sys.executable, "-c", ALLOCATE, how], check=True, capture_output=True, text=True)
        return int(done.stdout)

    assert faults("kept") < faults("as it is") / 10
