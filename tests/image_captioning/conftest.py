"""Data that several tests read and none changes."""

import pytest

from tests.image_captioning.captioning_room import Room, sample


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """Folder of a small sample world, cleaned, with its tokenizer."""
    root = tmp_path_factory.mktemp("captioning_data")
    Room(root).data(sample())
    return root
