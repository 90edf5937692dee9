"""Every layout trains what one process trains; what one layout saved, another resumes."""

import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy_fits import fit_here, outcome, run, training

from components.engines.base.errors import UsageError
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.parallel.layout import Layout, settle
from components.engines.training.parallel.pipeline import owned_blocks
from components.engines.training.parallel.sharded import shard_network

NETWORKS, GAN = "toy_networks", "toy_gan"
SETTINGS = {"max_steps": 20, "accumulation_steps": 2, "learning_rate": 3e-3, "score_every": 10, "ema_decay": 0.9}
FEWER_STEPS = {**SETTINGS, "max_steps": 8, "score_every": 4}
PLAIN_GAN = {"noise_on_device": False, "batch_norm": False, "fooling_from": 8}
DELAYED = {"discriminator": {"learning_rate": 1e-3, "adam_betas": (0.5, 0.9), "start_step": 8}}
GAN_SETTINGS = {**SETTINGS, "turns": DELAYED}
FAMILIES = ("decoder", "encoder_decoder", "dit")
VIDEO = {"family": "video_dit"}
TWO = {
    "data": {},
    "zero 3": {"sharded": 2},
    "zero 2": {"sharded": 2, "zero_stage": 2},
    "zero 1": {"sharded": 2, "zero_stage": 1},
    "tensor": {"tensor": 2},
    "pipeline 1f1b": {"pipeline": 2},
    "pipeline gpipe": {"pipeline": 2, "schedule": "gpipe"},
}
FOUR = {
    "data × sharded": {"data": 2, "sharded": 2},
    "data × zero 1": {"data": 2, "sharded": 2, "zero_stage": 1},
    "data × tensor": {"data": 2, "tensor": 2},
    "data × pipeline": {"data": 2, "pipeline": 2},
    "pipeline of four": {"pipeline": 4, "schedule": "gpipe"},
}


def work_of(folder, *names):
    return folder / "-".join(names)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Every family and the GAN under every layout of two processes, with all their checkpoints."""
    folder = tmp_path_factory.mktemp("two")
    settings = {**SETTINGS, "checkpoint_every": 5, "keep_checkpoints": 9}
    fits = [
        (NETWORKS, {"family": family}, training(**settings, layout=layout), work_of(folder, family, name))
        for family in FAMILIES
        for name, layout in TWO.items()
    ]
    fits.append((NETWORKS, VIDEO, training(**settings, layout=TWO["tensor"]), work_of(folder, "video_dit", "tensor")))
    fits += [
        (GAN, PLAIN_GAN, training(**settings, turns=DELAYED, layout=layout), work_of(folder, "gan", name))
        for name, layout in TWO.items()
    ]
    run(2, fits, folder)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    fits = {family: fit_here(NETWORKS, training(**SETTINGS), folder / family, family=family) for family in FAMILIES}
    return fits | {"gan": fit_here(GAN, training(**GAN_SETTINGS), folder / "gan", **PLAIN_GAN)}


def assert_same_losses(fitted, expected, rel=1e-5):
    assert [row["step"] for row in fitted.curve] == [row["step"] for row in expected.curve]
    for row, other in zip(fitted.curve, expected.curve, strict=True):
        losses = [name for name in other if name.endswith("loss")]
        assert losses
        assert [row[name] for name in losses] == pytest.approx([other[name] for name in losses], rel=rel)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_train_what_one_trains_under_every_layout(two, alone, family, name):
    fitted = finished_fit(work_of(two, family, name), training(**SETTINGS))
    assert fitted is not None
    assert_same_losses(fitted, alone[family])


@pytest.mark.slow
def test_a_transformer_of_videos_is_split_with_its_norms_over_all_heads(two, tmp_path):
    settings = training(**SETTINGS)
    fitted = finished_fit(work_of(two, "video_dit", "tensor"), settings)
    assert fitted is not None
    assert_same_losses(fitted, fit_here(NETWORKS, settings, tmp_path, **VIDEO))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TWO if name.startswith(("data", "zero"))])
def test_two_turns_of_which_one_is_delayed_train_what_one_process_trains(two, alone, name):
    fitted = finished_fit(work_of(two, "gan", name), training(**GAN_SETTINGS))
    assert fitted is not None
    assert_same_losses(fitted, alone["gan"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tensor", "UsageError: There is no tensor-parallel plan for Sequential"),
        ("pipeline 1f1b", "UsageError: ToyGan cannot be cut into a pipeline: that takes one network, and one turn"),
    ],
)
def test_a_layout_that_does_not_fit_the_task_is_refused(two, name, words):
    assert words in work_of(two, "gan", name).joinpath("refused.txt").read_text()


@pytest.mark.slow
def test_a_checkpoint_resumes_under_other_layouts_and_numbers_of_processes(two, alone, tmp_path):
    def half_done(saved, name):
        work = tmp_path / name
        shutil.copytree(
            work_of(two, "decoder", saved) / "checkpoints/step-00000010", work / "checkpoints/step-00000010"
        )
        return work

    ways = [("zero 3", "tensor"), ("zero 3", "pipeline 1f1b"), ("zero 3", "zero 1"), ("zero 1", "zero 3")]
    ways += [("tensor", "data"), ("pipeline 1f1b", "zero 2"), ("zero 3", "zero 3")]
    works = {(saved, name): half_done(saved, f"{saved}-{name}") for saved, name in ways}
    fits = [
        (NETWORKS, {"family": "decoder"}, training(**SETTINGS, layout=TWO[name]), work)
        for (_, name), work in works.items()
    ]
    run(2, fits, tmp_path)
    settings = training(**SETTINGS)
    for work in works.values():
        fitted = finished_fit(work, settings)
        assert fitted is not None, work
        assert_same_losses(fitted, alone["decoder"])
    for saved in ("zero 3", "tensor", "pipeline 1f1b"):
        fitted = fit_here(NETWORKS, settings, half_done(saved, f"{saved}-one"), family="decoder")
        assert_same_losses(fitted, alone["decoder"])
    whole = finished_fit(work_of(two, "decoder", "zero 3"), settings)
    again = finished_fit(works["zero 3", "zero 3"], settings)
    assert outcome(again) == outcome(whole)  # under the same layout to the bit


@pytest.mark.slow
def test_four_processes_train_what_one_trains_under_hybrids(tmp_path):
    fits = [
        (NETWORKS, {"family": family}, training(**FEWER_STEPS, layout=layout), work_of(tmp_path, family, name))
        for family in FAMILIES
        for name, layout in FOUR.items()
    ]
    fits.append((NETWORKS, {"family": "decoder"}, training(**FEWER_STEPS, layout={"tensor": 4}), tmp_path / "heads"))
    fits.append(
        (
            NETWORKS,
            {"family": "decoder", "blocks": 3},
            training(**FEWER_STEPS, layout={"pipeline": 4}),
            tmp_path / "few",
        )
    )
    run(4, fits, tmp_path)
    settings = training(**FEWER_STEPS)
    for family in FAMILIES:
        alone = fit_here(NETWORKS, settings, tmp_path / family, family=family)
        for name in FOUR:
            fitted = finished_fit(work_of(tmp_path, family, name), settings)
            assert fitted is not None, (family, name)
            assert_same_losses(fitted, alone)
    assert "num_key_value_heads 2 is not divisible by tensor 4" in (tmp_path / "heads/refused.txt").read_text()
    assert "accumulation_steps 2 cannot fill 4 pipeline stages" in (tmp_path / "few/refused.txt").read_text()


@pytest.mark.parametrize(
    ("layout", "world", "words"),
    [
        ({"tensor": 2}, 1, r"layout data 1 × tensor 2 = 2 does not make up the 1 workers"),
        ({"data": 2, "sharded": 2}, 2, r"data 2 × sharded 2 = 4 does not make up the 2 workers"),
        ({"data": 3}, 2, r"layout data 3 = 3 does not make up the 2 workers"),
        ({"tensor": 2, "pipeline": 2}, 4, r"layout combines tensor: 2 and pipeline: 2"),
        ({"sharded": 2}, 3, r"data 1 × sharded 2 = 2 does not make up the 3 workers"),
    ],
)
def test_a_layout_that_does_not_fit_the_workers_is_refused_with_the_numbers(layout, world, words):
    with pytest.raises(UsageError, match=words):
        settle(Layout(**layout), world)


def test_scalars_are_refused_where_they_would_be_sharded():
    network = nn.Linear(2, 2)
    network.register_parameter("temperature", nn.Parameter(torch.tensor(1.0)))
    with pytest.raises(UsageError, match=r"Linear has parameters that cannot be sharded.* scalars: temperature"):
        shard_network(network, None, reshard_after_forward=True)


@given(data=st.integers(1, 8), ways=st.integers(1, 8), kind=st.sampled_from(["sharded", "tensor", "pipeline"]))
def test_auto_takes_what_the_others_leave(data, ways, kind):
    settled = settle(Layout(**{kind: ways}), data * ways)
    assert (settled.data, getattr(settled, kind)) == (data, ways)
    assert settled.batches == (data * ways if kind == "sharded" else data)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3), stages=st.integers(1, 6))
def test_stages_own_every_block_once_and_evenly(lengths, stages):
    if sum(lengths) < stages:
        with pytest.raises(UsageError, match="cannot be cut into"):
            owned_blocks(lengths, 0, stages)
        return
    owned = [owned_blocks(lengths, stage, stages) for stage in range(stages)]
    assert [block for first, last in owned for block in range(first, last)] == list(range(sum(lengths)))
    sizes = [last - first for first, last in owned]
    assert max(sizes) - min(sizes) <= 1
