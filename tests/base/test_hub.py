"""A checkpoint on the hub is named with its commit, and loaded at that commit; tried on a cache as the hub's client leaves it."""

import logging

import pytest

from components.engines.base.errors import UsageError
from components.engines.base.hub import hub_name, with_checkpoints
from components.engines.base.params import Params
from components.text_to_image.architecture import Architecture

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Shape(Params):
    init_from: str | None = None
    width: int = 3


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """What a machine without network has of `owner/name`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub/models--owner--name"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


@pytest.mark.parametrize("name", ["owner/name", "owner/name@main", "owner/name@0123456"])
def test_a_name_without_its_commit_is_refused_and_the_commit_here_is_told(tmp_path, cache, name):
    with pytest.raises(UsageError, match=rf"clip\.architecture\.init_from.*write owner/name@{COMMIT}"):
        with_checkpoints(Shape(init_from=name), "clip.architecture", tmp_path)


def test_with_it_the_stage_gets_the_folder_of_that_commit(tmp_path, cache):
    pinned = f"owner/name@{COMMIT}"
    assert with_checkpoints(Shape(init_from=pinned), "x", tmp_path) == Shape(init_from=str(cache))
    nested = Architecture.model_validate({"text": {"init_from": pinned}})
    assert with_checkpoints(nested, "text_to_image.architecture", tmp_path).text.init_from == str(cache)


def test_what_cannot_be_fetched_is_said(tmp_path, cache, caplog):
    away = f"owner/other@{COMMIT}"
    with caplog.at_level(logging.WARNING, "genworks"):
        assert with_checkpoints(Shape(init_from=away), "x", tmp_path).init_from == away
    assert "x.init_from: owner/other" in caplog.text


def test_paths_and_nothing_are_left_as_they_are(tmp_path, cache):
    (tmp_path / "owner/name").mkdir(parents=True)
    for value in (None, "owner/name", "/far/away/model", "./model", str(tmp_path)):
        params = Shape(init_from=value)
        assert with_checkpoints(params, "x", tmp_path) is params
    assert hub_name("bert-base-uncased", tmp_path) == ("bert-base-uncased", None)
