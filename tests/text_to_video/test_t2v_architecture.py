"""What the shared sections of params.yaml demand, alone and together."""

import pytest

from components.engines.base.digests import Digests
from components.engines.base.errors import UsageError
from components.engines.base.paths import project_root
from components.text_to_video.architecture import Architecture, Denoiser, check_together
from components.text_to_video.ingest import Ingest, external_inputs
from components.text_to_video.train_autoencoder import TrainAutoencoder
from flows import dag, settings
from flows.param_models import check_params


def with_patch(patch):
    change = settings.parse_assignment(f"text_to_video.denoiser.latte.patch={patch}")
    return settings.prepare(project_root(), [change]).text


def test_a_denoiser_that_cannot_divide_the_latents_is_refused_before_anything_runs():
    check_params(project_root(), ["text_to_video"], with_patch(2))
    with pytest.raises(UsageError, match=r"bucket of 32 x 32 is not divisible by \d+"):
        check_params(project_root(), ["text_to_video"], with_patch(3))


def test_networks_that_a_checkpoint_brings_divide_as_they_do():
    check_together(Architecture(init_from="owner/name"), Denoiser(latte={"patch": 3}))


def test_an_autoencoder_that_would_never_see_whole_clips_is_refused():
    training = {"max_steps": 10, "batch_size": 1, "learning_rate": 1e-3, "warmup_steps": 1}
    assert TrainAutoencoder(training=training, picture_steps=6, short_steps=3).picture_steps == 6
    with pytest.raises(ValueError, match=r"picture_steps 6 \+ short_steps 4 leave none of max_steps 10"):
        TrainAutoencoder(training=training, picture_steps=6, short_steps=4)


def test_what_a_source_is_read_from_bears_the_names_of_params(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"clip")
    (tmp_path / "table.csv").write_text("clip,caption\na.mp4,one\n")
    section = {"source": str(tmp_path / "table.csv"), "fields": {"clip": "clip", "caption": "caption"}}
    found = external_inputs(section, tmp_path, Digests(tmp_path / "digests.json"))
    assert set(found) == {"source", "clips"} <= set(Ingest.model_fields)


@pytest.mark.parametrize(
    ("frames", "height", "why"),
    [
        (8, 32, r"8 frames is not 1 \+ a multiple of 4"),
        (9, 33, "33 x 32 is not divisible by 8, the autoencoder's factor"),
    ],
)
def test_a_bucket_that_the_autoencoder_cannot_divide_is_refused(frames, height, why):
    with pytest.raises(ValueError, match=why):
        Architecture(buckets=[{"frames": frames, "height": height, "width": 32}])


def test_another_denoiser_needs_no_other_autoencoder_or_latents():
    stages = dag.load(project_root()).stages
    read = {name for name, one in stages.items() if "text_to_video.denoiser" in one.params}
    assert read == {"text_to_video-pretrain", "text_to_video-finetune"}
