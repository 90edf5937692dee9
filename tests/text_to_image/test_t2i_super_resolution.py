"""The upscaler: it begins as bicubic enlargement and learns to do better; Swin2SR checkpoints are used as they are."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

from components.engines.base.errors import StageError, UsageError
from components.engines.base.paths import write_json
from components.engines.captioned.dataset import CaptionedImages
from components.engines.super_resolution.stage import fresh_upscaler as start
from components.engines.super_resolution.task import pair_of
from components.engines.super_resolution.upscaler import Upscaler, bicubic, psnr
from components.text_to_image.train_upscaler import TrainUpscaler, upscaling
from tests.text_to_image.small import SMALL, shaped, small, training

SHAPE = {"width": 8, "depths": (2,), "window": 4, "crop_px": 8, "max_blur_px": 0.0}


def params(steps=60, **changes):
    schedule = {"warmup_steps": 1, "score_every": steps, "select_metric": "valid_psnr_db", "select_mode": "max"}
    learning = training(steps, learning_rate=4e-3, **schedule)
    return TrainUpscaler(**{**SHAPE, "training": learning, **changes})


def pictures(folder, split="valid"):
    return [one.open() for one in CaptionedImages(folder / "cleaned", split)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, t2i_base):
    return small(tmp_path_factory.mktemp("upscaler"), t2i_base, train_upscaler=params()).run("train_upscaler")


def test_it_begins_as_bicubic_enlargement():
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    made = start(params(), 16).upscale(images)
    torch.testing.assert_close(made, bicubic(images, 2).clamp(0, 1), atol=1e-5, rtol=0)


def test_it_learns_to_enlarge_better_than_that(trained, t2i_data):
    small, large = pair_of(pictures(t2i_data), 16, 2)
    upscaler = Upscaler.load(trained["super_resolution"])
    gain = psnr(upscaler.upscale(small), large) - psnr(bicubic(small, 2).clamp(0, 1), large)
    assert gain.mean() > 0.1
    assert "valid_psnr_db" in trained["super_resolution_curve"].read_text()
    assert not [path for path in trained["super_resolution"].iterdir() if path.suffix == ".bin"]


def test_any_side_and_any_batch_size_do(trained):
    upscaler = Upscaler.load(trained["super_resolution"])
    images = torch.rand((3, 3, 10, 14), generator=torch.Generator().manual_seed(0))
    whole = upscaler.upscale(images)
    assert whole.shape == (3, 3, 20, 28)
    assert 0 <= whole.min() < whole.max() <= 1
    torch.testing.assert_close(upscaler.upscale(images, batch_size=1), whole, atol=1e-5, rtol=0)


def test_a_published_checkpoint_is_used_as_it_is(tmp_path, t2i_base):
    torch.manual_seed(0)
    config = Swin2SRConfig(
        image_size=16, embed_dim=8, depths=[1], num_heads=[2], window_size=4, upscale=2, upsampler="pixelshuffledirect"
    )
    network = Swin2SRForImageSuperResolution(config).eval()
    network.save_pretrained(tmp_path / "published")
    chosen = params(init_from=str(tmp_path / "published"))
    made = small(tmp_path, t2i_base, train_upscaler=chosen).run("train_upscaler")["super_resolution"]
    images = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(pixel_values=images).reconstruction.clamp(0, 1)
    torch.testing.assert_close(Upscaler.load(made).upscale(images), expected)


def test_both_halves_of_a_pair_show_the_same_place(t2i_data):
    task = upscaling(params(), 16, t2i_data / "cleaned")
    batch = task.batch(np.arange(8), 0)
    assert batch["small"].shape == (8, 3, 8, 8)
    assert batch["large"].shape == (8, 3, 16, 16)
    again = torch.nn.functional.avg_pool2d(batch["large"], 2)
    difference = (again - batch["small"]).abs().mean((1, 2, 3))
    assert difference.max() < 0.05
    assert (again.flip(0) - batch["small"]).abs().mean() > 2 * difference.mean()
    assert torch.equal(task.batch(np.array([5]), 0)["small"][0], batch["small"][5])
    assert not torch.equal(task.batch(np.arange(8), 1)["small"], batch["small"])


def test_stored_pictures_must_be_larger_than_generated_ones(t2i_data):
    with pytest.raises(UsageError, match=r"no stored picture is 2 × 32 pixels \(at most 32\).*store_px"):
        upscaling(params(), shaped(image_px=32).image_px, t2i_data / "cleaned")


def test_without_larger_pictures_enlarging_stays_bicubic(tmp_path, t2i_base):
    large = SMALL.model_copy(update={"image_px": 32})
    room = small(tmp_path, t2i_base, large, train_upscaler=params(enabled=False))
    folder = room.run("train_upscaler")["super_resolution"]
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    made = Upscaler.load(folder).upscale(images)
    torch.testing.assert_close(made, bicubic(images, 2).clamp(0, 1), atol=1e-5, rtol=0)


def test_nothing_trains_on_data_that_failed_the_checks(tmp_path, t2i_base):
    write_json(tmp_path / "checked.json", {"success": False})
    room = small(tmp_path, t2i_base, train_upscaler=params())
    with pytest.raises(StageError, match="data checks failed"):
        room.run("train_upscaler", checked=tmp_path / "checked.json")


def test_shapes_that_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="width 9 is not divisible by 2 heads"):
        params(width=9)
    with pytest.raises(ValidationError, match="crop_px 10 is not divisible by the window of 4"):
        params(crop_px=10)


def test_psnr_is_in_decibels_of_the_full_range():
    real = torch.zeros(2, 3, 4, 4)
    assert psnr(real + torch.tensor([0.1, 0.01])[:, None, None, None], real).tolist() == pytest.approx(
        [20, 40], abs=1e-3
    )
