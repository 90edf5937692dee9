"""Data and a trained tiny model that several tests read and none changes."""

import pytest
import torch

from tests.text_to_image.small import make_data, shaped, small


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny products are faster so, and equal whatever else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def t2i_base(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("t2i_data"))


@pytest.fixture(scope="session")
def t2i_data(t2i_base):
    return t2i_base.data


@pytest.fixture(scope="session")
def dit_room(tmp_path_factory, t2i_base):
    """A room whose stages have all run, with a diffusion transformer."""
    return _run(small(tmp_path_factory.mktemp("dit"), t2i_base))


@pytest.fixture(scope="session")
def unet_room(tmp_path_factory, t2i_base):
    """The same with a U-Net."""
    return _run(small(tmp_path_factory.mktemp("unet"), t2i_base, shaped(network="unet")))


def _run(room):
    room.run_all("train_autoencoder", "train_text_encoder")
    room.run("cache_latents", dtype="fp32")
    return room.run_all("train")
