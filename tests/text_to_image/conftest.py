"""Data and a trained tiny model that several tests read and none changes."""

import pytest
import torch

from tests.text_to_image.t2i_room import Room, make_data, shaped


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny products are faster so, and equal whatever else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def t2i_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("t2i_data")
    make_data(root)
    return root


@pytest.fixture(scope="session")
def dit_room(tmp_path_factory, t2i_data):
    """A room whose stages have all run, with a diffusion transformer."""
    return _run(Room(tmp_path_factory.mktemp("dit"), t2i_data))


@pytest.fixture(scope="session")
def unet_room(tmp_path_factory, t2i_data):
    """The same with a U-Net."""
    return _run(Room(tmp_path_factory.mktemp("unet"), t2i_data, shaped(network="unet")))


def _run(room):
    room.autoencoder()
    room.text_encoder()
    room.precompute(dtype="fp32")
    room.train()
    return room
