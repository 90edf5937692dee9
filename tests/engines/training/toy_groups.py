"""`torchrun … toy_groups.py TIMES`: a group over the CPU made, and closed at once by every rank, over and over."""

import sys

import torch.distributed as dist

from components.engines.training.faults.hanging import cpu_group
from components.engines.training.parallel.ranks import Ranks
from components.engines.training.params import Training

if __name__ == "__main__":
    ranks = Ranks.from_process_group()
    training = Training(max_steps=1, batch_size=ranks.world, learning_rate=0.1)
    for _ in range(int(sys.argv[1])):
        dist.destroy_process_group(cpu_group(training, ranks))
        ranks.barrier()
