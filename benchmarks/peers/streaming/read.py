"""`python read.py FOLDER COUNT BYTES`: writes an MDS dataset, then reads it shuffled once per line of standard input.

Runs in the virtual environment beside it and prints the seconds of each pass; the benchmark starts it and sets the pace, so that
passes of both readers alternate on one machine.
"""

import importlib.machinery
import os
import sys
import time
import types


def pretend_torchvision() -> None:
    """Stand-ins for names that `import streaming` needs for its vision datasets only."""
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
    for name in names:
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = module
    sys.modules["torchvision.datasets"].VisionDataset = object  # type: ignore[attr-defined]
    sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]


def main(folder: str, count: int, size: int) -> None:
    pretend_torchvision()
    from streaming import MDSWriter, StreamingDataset

    with MDSWriter(out=folder, columns={"key": "str", "txt": "bytes"}, size_limit=1000 * (size + 100)) as writer:
        for index in range(count):
            writer.write({"key": f"{index:08d}", "txt": os.urandom(size)})
    dataset = StreamingDataset(local=folder, shuffle=True, shuffle_seed=1, batch_size=64)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        read = sum(1 for sample in dataset if len(sample["txt"]) == size)
        print(time.perf_counter() - start, read, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
