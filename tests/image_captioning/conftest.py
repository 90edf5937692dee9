"""Data that several tests read and none changes."""

import pytest

from tests.clip.small import DATA
from tests.image_captioning.small import small


@pytest.fixture(scope="session")
def small_room(tmp_path_factory):
    """A small sample world, cleaned, with its tokenizer."""
    return small(tmp_path_factory.mktemp("captioning")).run_all(*DATA)


@pytest.fixture(scope="session")
def small_data(small_room):
    return small_room.data
