"""Evaluation keeps the pictures of its many ways of painting on disk, not in memory."""

import re
from pathlib import Path

import pytest
import torch

from components.engines.diffusion.sampling import Sampling
from components.engines.images.stored import stored
from components.text_to_image.evaluate import Evaluate
from components.text_to_image.measures.trial import Trial
from tests.text_to_image.painter_folder import fill_for_evaluation, parts_of
from tests.text_to_image.small import small

PARAMS = Evaluate(
    sampling=Sampling(steps=2, guidance=2.0), guidances=(1.0, 2.0), num_prompts=8, num_samples=3, batch_size=3
)


def anonymous_memory():
    """Bytes of this process that no file stands behind."""
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def mapped_files(tensor):
    """The files in whose mapping the tensor's values lie."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            yield line.split()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dit_room):
    """What an evaluation reads: optimised networks, an upscaler, a judge."""
    return fill_for_evaluation(tmp_path_factory.mktemp("served"), dit_room)


def test_stored_pictures_take_no_memory_however_many(tmp_path):
    def peak(pieces):
        found = []

        def made():
            for number in range(pieces):
                found.append(anonymous_memory())
                yield torch.full((4, 3, 256, 256), float(number))

        pictures = stored(tmp_path / f"{pieces}.npy", made(), 4 * pieces)
        assert [float(pictures[4 * number].mean()) for number in range(pieces)] == list(range(pieces))
        return max(*found, anonymous_memory()) - found[0]

    peak(4)
    assert peak(64) - peak(16) < 20_000_000  # the pictures weigh 151 MB more


def test_every_way_of_painting_lies_on_disk(folder, dit_room, tmp_path):
    model, cheap = dit_room.data / "model", (folder / "optimised/student", folder / "optimised/int8")
    trial = Trial(
        PARAMS, dit_room.sections["architecture"], dit_room.at("data/text_to_image/curated"), model, *cheap, tmp_path
    )
    sets = {**trial.painted, "real": trial.real, "reconstructed": trial.reconstructed}
    assert len(sets) == 2 + 3 + 2
    for name, images in sets.items():
        assert images.shape == (8, 3, 16, 16), name
        assert any(path.startswith(str(tmp_path)) for path in mapped_files(images)), name
    whole = trial.teacher.generate(
        trial.prompts, seeds=trial.seeds, steps=2, guidance=2.0, negative_prompts=[""] * 8, batch_size=3
    )
    assert torch.equal(trial.painted["guidance 2"], whole)


def test_an_evaluation_reads_what_it_stored(folder, dit_room, tmp_path):
    figures = small(tmp_path, dit_room, evaluate=PARAMS).evaluate(**parts_of(folder))
    assert figures["test_prompts"] == 8
    assert 0 < figures["nearest_training_image"] < 1
