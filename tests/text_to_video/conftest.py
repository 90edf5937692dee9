"""Data and a trained tiny model that several tests read and none changes."""

import pytest
import torch

from tests.text_to_video.small import make_clip, small


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny products are faster so, and equal whatever else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def t2v_data(tmp_path_factory):
    """A room whose clips are curated, beside a CLIPModel."""
    room = small(tmp_path_factory.mktemp("t2v_data"))
    make_clip(room.root / "data/clip/model")
    return room.run_all("ingest", "clean", "filter", "caption", "validate")


@pytest.fixture(scope="session")
def t2v_room(tmp_path_factory, t2v_data):
    """A room whose stages have all run, with Wan's networks."""
    room = small(tmp_path_factory.mktemp("t2v_room"), t2v_data)
    room.run_all("train_autoencoder", "train_text_encoder")
    room.run("cache_latents", dtype="fp32")
    return room.run_all("pretrain", "finetune", "train_upscaler", "train_interpolator", "train_judge", "evaluate")
