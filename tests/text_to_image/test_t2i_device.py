"""Filter, recaption, caching, evaluation and serving run where the machine's GPU would be, and ask a cluster for theirs."""

import io

import numpy as np
import pytest
from PIL import Image

from components.engines.diffusion.sampling import Sampling
from components.engines.latents import cache
from components.engines.latents.cache import EncodedSamples
from components.engines.shards import map_shards
from components.text_to_image.serve import Painter
from tests.stand_in_device import numbers, on_both
from tests.text_to_image.painter_folder import fill_for_evaluation, parts_of
from tests.text_to_image.small import small
from tests.text_to_image.taught import curating, figures_of, make_data, pairs


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("curation_data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dit_room):
    return fill_for_evaluation(tmp_path_factory.mktemp("served"), dit_room)


@pytest.fixture
def places(tmp_path):
    """An empty folder for each of two runs."""
    return (tmp_path / f"{number}" for number in range(9))


def test_pairs_are_scored_and_captioned_on_the_device(taught, places):
    def run():
        room = curating(next(places), taught)
        figures = figures_of(room, "filter") | figures_of(room, "recaption")
        return numbers(figures), {key: one.caption for key, one in pairs(room, "curated").items()}

    expected, found, there = on_both(run)
    assert {"CLIPVisionEmbeddings", "Conv2d"} <= there  # CLIP and the captioner
    assert found[0] == pytest.approx(expected[0], rel=1e-4, nan_ok=True)
    assert found[1] == expected[1]


def test_latents_are_cached_from_the_device(dit_room, places):
    def run():
        latents = small(next(places), dit_room).run("cache_latents", dtype="fp32")["latents"]
        return [one["latents"] for one in EncodedSamples(latents, "train")]

    expected, found, there = on_both(run)
    assert {"Conv2d", "Embedding"} <= there
    np.testing.assert_allclose(np.stack(found), np.stack(expected), atol=1e-5)


def test_an_evaluation_paints_and_measures_on_the_device(folder, dit_room, places):
    sampling = Sampling(steps=2, guidance=2.0)
    params = {"sampling": sampling, "guidances": (2.0,), "num_prompts": 4, "num_samples": 3}

    def run():
        return numbers(small(next(places), dit_room, evaluate=params).evaluate(**parts_of(folder)))

    expected, found, _ = on_both(run)
    assert found == pytest.approx(expected, rel=1e-2, nan_ok=True)


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_prompts_are_served_from_the_device(folder, network):
    def run():
        (answer,) = Painter.load(folder).predict([{"prompt": "a large green circle", "seed": 7}], network=network)
        return answer["clip_score"], np.asarray(Image.open(io.BytesIO(answer["image"]))).astype(int)

    expected, found, _ = on_both(run)
    assert found[0] == pytest.approx(expected[0], abs=1e-3)
    assert abs(found[1] - expected[1]).max() <= 1


def test_map_stages_ask_the_cluster_for_their_share_of_its_gpus(taught, dit_room, tmp_path, monkeypatch):
    asked = []

    def refused(*_, resources, **__):
        asked.append(resources)
        raise InterruptedError

    curation = curating(tmp_path / "curation", taught)
    curation.run("filter")
    for module in (map_shards, cache):
        monkeypatch.setattr(module, "map_shards", refused)
    caching = small(tmp_path / "caching", dit_room)
    for room, stage in ((curation, "filter"), (curation, "recaption"), (caching, "cache_latents")):
        with pytest.raises(InterruptedError):
            room.run(stage)
    assert asked == [{"CPU": 1, "GPU": "auto"}] * 3
