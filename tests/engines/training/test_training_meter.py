"""What a run tells of its speed: where the time goes, FLOPs as the papers count them, peaks, memory. Nothing is disturbed."""

import gzip
import json
import logging
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
import toy_gan
import toy_language_model
import toy_late_message
import toy_slow_rank
from test_training_loop import Listener
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from toy_fits import assert_close, finish, fit_here, outcome, start, torchrun, training

from components.engines.base.progress import Progress
from components.engines.training.checkpoints.saved_run import finished_fit
from components.engines.training.loop import fit
from components.engines.training.observe.clock import Clock, timed_backward
from components.engines.training.observe.flops import ModelFlops
from components.engines.training.observe.meter import Meter, shown
from components.engines.training.observe.peaks import listed_peak, peak_flops
from components.engines.training.parallel.ranks import Ranks

LM, GAN = "toy_language_model", "toy_gan"
CPU = torch.device("cpu")
PARTS = {"data", "forward", "backward", "optimizer", "communication", "checkpoint", "score", "wait", "other"}


class TokenCounting(toy_language_model.ToyLanguageModel):
    def sample(self, index, epoch):
        return super().sample(index, 0)

    def count_tokens(self, batch):
        return int((batch["tokens"] > 0).sum())


def counting():
    return TokenCounting(16, 0.1, 50, 0.0)


def rows(tmp_path, make=counting, **changes):
    listener = Listener()
    fit(make, training(**changes), work=tmp_path, ranks=Ranks.single(CPU), observer=listener)
    return [figures for _, figures in listener.heard]


def test_the_parts_of_a_step_add_up_to_the_time_that_went_by(tmp_path):
    begin = time.perf_counter()
    heard = rows(tmp_path, score_every=8, checkpoint_every=6)
    elapsed = time.perf_counter() - begin
    seconds = [{k: v for k, v in row.items() if k.startswith("seconds_")} for row in heard]
    assert {f"seconds_{part}" for part in PARTS} | {"seconds_step"} == {name for row in seconds for name in row}
    whole = sum(4 * sum(v for k, v in row.items() if k != "seconds_step") for row in seconds)  # 4 steps a row
    assert 0 < whole <= elapsed
    for row in seconds:
        beside = row.get("seconds_score", 0) + row.get("seconds_checkpoint", 0)
        parts = sum(v for k, v in row.items() if k != "seconds_step")
        assert row["seconds_step"] == pytest.approx(parts - beside, abs=1e-6)


def test_a_pause_is_charged_to_the_part_it_happens_in(tmp_path):
    """Also to no other: a slow score or forward pass must not pass for a slow backward pass."""

    class Slow(toy_language_model.ToyLanguageModel):
        def loss(self, batch):
            time.sleep(0.02 if torch.is_grad_enabled() else 0)
            return super().loss(batch)

        def score(self):
            time.sleep(0.2)
            return super().score()

    (row,) = rows(tmp_path, lambda: Slow(16, 0.1, 50, 0.0), max_steps=4, score_every=4)
    assert row["seconds_forward"] >= 0.02
    assert row["seconds_score"] >= 0.05  # a quarter of 0.2: per step
    assert row["seconds_step"] == pytest.approx(sum_of(row) - row["seconds_score"], abs=1e-6)


def sum_of(row):
    return sum(v for k, v in row.items() if k.startswith("seconds_") and k != "seconds_step")


def test_rates_follow_from_the_step_time(tmp_path):
    row = rows(tmp_path, score_every=8)[1]
    assert row["samples_per_second"] == pytest.approx(16 / row["seconds_step"])
    assert 3 < row["tokens_per_second"] / row["samples_per_second"] < toy_language_model.LONGEST
    assert "tokens_per_second" not in rows(tmp_path / "gan", partial(toy_gan.make_task))[0]


def test_tokens_are_those_of_the_samples(tmp_path):
    """All 50 samples, 8 times: as many tokens a sample as the samples have."""
    heard = rows(tmp_path, max_steps=25, log_every=25, accumulation_steps=2)
    task = counting()
    per_sample = heard[0]["tokens_per_second"] / heard[0]["samples_per_second"]
    assert per_sample == pytest.approx(sum(len(task.sample(index, 0)) for index in range(50)) / 50)


def test_a_part_inside_another_interrupts_it_and_a_part_may_turn_into_another():
    clock = Clock()
    with clock.part("outer"):
        with clock.part("inner"):
            time.sleep(0.05)
        clock.turn_to("rest")
        time.sleep(0.05)
    clock.steps = 1
    parts, alone = clock.read()
    assert parts["seconds_inner"] >= 0.05
    assert parts["seconds_rest"] >= 0.05
    assert parts["seconds_outer"] < 0.05
    assert alone == pytest.approx(sum(parts.values()), rel=1e-3)
    assert clock.read()[0].keys() == {"seconds_other"}


def test_with_events_the_device_tells_the_seconds_of_what_it_computes():
    ticks = iter(range(100))

    class Event:
        def __init__(self):
            self.at = next(ticks)

        def elapsed_time(self, later):
            return 1000.0 * (later.at - self.at)  # a second a tick

    clock = Clock(Event)
    with clock.part("forward"):
        pass
    with clock.part("data"):
        time.sleep(0.01)
    clock.steps = 1
    parts, _ = clock.read()
    assert parts["seconds_forward"] == 1.0
    assert 0.01 <= parts["seconds_data"] < 1.0


def test_what_waits_for_other_ranks_after_the_last_gradient_is_communication():
    """As data parallelism does it: a callback at the end of the backward pass, queued while it runs."""
    x = torch.ones(3, requires_grad=True)
    engine = torch.autograd.Variable._execution_engine

    class Waits(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clone()

        @staticmethod
        def backward(_, grad):
            time.sleep(0.05)
            engine.queue_callback(partial(time.sleep, 0.1))
            return grad

    for ranks, part in ((2, "communication"), (1, "backward")):
        clock = Clock()
        timed_backward(Waits.apply(x).sum() * 2, clock, ranks=ranks)
        assert clock.seconds[part] >= 0.1
        assert clock.seconds["backward"] >= 0.05
        assert clock.seconds["backward"] + clock.seconds["communication"] < 10
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


# ---------------------------------------------------------------------------------------------------------- FLOPs


def forward_and_backward(compute):
    with FlopCounterMode(display=False) as both:
        compute().sum().backward()
    with ModelFlops() as ours:
        compute()
    return ours.total, both.get_total_flops()


def test_flops_of_a_forward_pass_are_those_that_torch_counts_forwards_and_backwards():
    mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    frozen = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)).requires_grad_(False)
    convolutions = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.ConvTranspose2d(4, 2, 3))
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x, image, sequence = torch.randn(5, 4), torch.randn(2, 3, 8, 8), torch.randn(2, 5, 8, requires_grad=True)

    def half_frozen():
        with torch.no_grad():
            frozen(x)
        return mlp(x) + frozen(x + x.sum(0))

    for compute in (lambda: mlp(x), lambda: convolutions(image), lambda: attention(*[sequence] * 3)[0], half_frozen):
        ours, torchs = forward_and_backward(compute)
        assert ours == torchs > 0


def test_flops_of_a_decoder_are_those_of_the_formula(tmp_path):
    """PaLM, appendix B: 6·N + 12·L·H·Q·T per token, N parameters in matrices (the tied embedding counts as the head)."""
    task, width, batch, length = toy_language_model.make_task(dropout=0.0), 16, 4, 8
    matrices = sum(p.numel() for name, p in task.model.named_parameters() if p.ndim == 2 and "positions" not in name)
    tokens = torch.randint(1, toy_language_model.VOCABULARY, (batch, length + 1))
    with ModelFlops() as counter:
        task.loss({"tokens": tokens})
    assert counter.total == batch * length * (6 * matrices + 12 * 2 * width * length)


def test_fused_attention_counts_what_attention_by_hand_does():
    q, k, v = (torch.randn(2, 2, 6, 4, requires_grad=True) for _ in range(3))
    with ModelFlops() as fused:
        functional.scaled_dot_product_attention(q, k, v)
    with ModelFlops() as by_hand:
        (q @ k.transpose(-1, -2)).softmax(-1) @ v
    assert fused.total == by_hand.total == 3 * 2 * (2 * 2 * 2 * 6 * 6 * 4)


def test_recomputed_activations_do_not_count_twice():
    mlp, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(5, 4)
    with ModelFlops() as plain:
        mlp(x)
    with ModelFlops() as recomputing:
        checkpoint(mlp, x, use_reentrant=False)
    assert recomputing.total == plain.total > 0


@pytest.mark.parametrize(
    ("toy", "changes"), [(LM, {}), (GAN, {}), (LM, {"precision": "bf16"}), (GAN, {"accumulation_steps": 2})]
)
def test_counting_changes_no_bit_of_the_result(toy, changes, tmp_path):
    plain = fit_here(toy, training(**changes), tmp_path / "plain")
    counted = fit_here(toy, training(peak_tflops=1.0, **changes), tmp_path / "counted", observer=Listener())
    assert outcome(counted) == outcome(plain)


def test_counting_again_after_a_resume_changes_no_bit_either(tmp_path):
    settings = training(checkpoint_every=7, peak_tflops=1.0)
    with pytest.raises(KeyboardInterrupt):
        fit_here(GAN, settings, tmp_path / "killed", stop_after=7)
    resumed = fit_here(GAN, settings, tmp_path / "killed")
    assert outcome(resumed) == outcome(fit_here(GAN, training(checkpoint_every=7), tmp_path / "whole"))


def test_a_compiled_module_stays_compiled_while_its_flops_are_counted(tmp_path):
    """torch.compile steps aside under a counter: then the first step would have other bits than a resumed one."""
    compiled_calls = []

    def backend(graph, _):
        def run(*inputs):
            compiled_calls.append(torch.is_grad_enabled())
            return graph(*inputs)

        return run

    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    class Compiled(toy_gan.ToyGan):
        def __init__(self):
            super().__init__(True, True, 0.0)
            torch._dynamo.reset()
            self.discriminator.append(Twice())
            self.discriminator[-1].compile(backend=backend)

    def run(name, **changes):
        compiled_calls.clear()
        listener = Listener()
        settings = training(max_steps=4, **changes)
        fitted = fit(Compiled, settings, work=tmp_path / name, ranks=Ranks.single(CPU), observer=listener)
        return outcome(fitted), len(compiled_calls), listener.heard[-1][1].get("mfu")

    plain, counted = run("plain"), run("counted", peak_tflops=1.0)
    assert plain[:2] == counted[:2]
    assert plain[1] >= 4
    assert counted[2] > 0


# ------------------------------------------------------------------------------------------------------ MFU, peaks


def test_mfu_is_the_flops_of_a_step_over_its_seconds_and_the_peak(tmp_path):
    """The first step's FLOPs by hand, from every micro-batch, against what the rows say."""
    heard = rows(tmp_path, accumulation_steps=2, peak_tflops=0.5)
    meter = Meter(counting(), training(peak_tflops=0.5), Ranks.single(CPU))
    batch = meter.task.batch(np.arange(16), 0)
    with meter.forward(meter.task.turns[0], meter.task.loss, batch):
        meter.task.loss(batch)
    meter.end_step(None)
    flops = [row["mfu"] * row["seconds_step"] * 0.5e12 for row in heard]
    assert flops == pytest.approx([flops[0]] * len(flops))
    assert flops[0] == pytest.approx(meter.step_flops, rel=0.2)  # other samples, about as long


def test_an_unknown_peak_shows_no_mfu_and_is_no_news_on_a_cpu(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        heard = rows(tmp_path)
    assert not [row for row in heard if "mfu" in row]
    assert "peak_tflops" not in caplog.text


@pytest.mark.parametrize(
    ("name", "number_format", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "tf32", 156),
        ("NVIDIA H100 80GB HBM3", "bf16", 989),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA H200", "fp32", 67),
        ("NVIDIA L4", "fp16", 121),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA B200", "bf16", 2250),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("Tesla V100-SXM2-16GB", "fp16", 125),
        ("Tesla T4", "tf32", 8.1),
        ("Tesla T4", "bf16", None),
        ("NVIDIA L40S", "bf16", None),
        ("NVIDIA A10G", "bf16", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
    ],
)
def test_peaks_are_found_by_the_whole_name_of_the_device(name, number_format, tflops):
    assert listed_peak(name, number_format) == tflops


def test_the_peak_of_a_cpu_is_measured_only_when_asked_for():
    assert peak_flops(training(), CPU) is None
    assert peak_flops(training(peak_tflops=2), CPU) == 2e12
    measured = peak_flops(training(peak_tflops="measure"), CPU)
    assert 1e8 < measured < 1e15
    begin = time.perf_counter()
    assert peak_flops(training(peak_tflops="measure"), CPU) == measured
    assert time.perf_counter() - begin < 0.1  # kept, not measured again (which takes 0.3 s)


def test_the_terminal_shows_losses_speed_mfu_and_memory():
    row = {"step": 4, "lm_loss": 2.34567, "grad_norm": 1.0}
    figures = {"samples_per_second": 1234.5, "tokens_per_second": 98765.0, "mfu": 0.4321, "peak_memory_mb": 12345.0}
    words = shown(row, figures)
    assert words == {"lm_loss": 2.346, "samples/s": 1230.0, "tokens/s": 98800.0, "mfu": "43.2%", "memory": "12.35 GB"}


def test_the_progress_of_a_training_shows_them_from_the_first_row_on(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Progress, "advance", lambda self, **figures: seen.append(figures))
    fit_here(LM, training(peak_tflops=1.0), tmp_path)
    assert seen[:3] == [{}] * 3
    assert len(seen) == 24
    assert all({"lm_loss", "samples/s", "mfu", "memory"} == words.keys() for words in seen[3:])


def test_peak_memory_grows_with_what_was_held(tmp_path):
    before = rows(tmp_path / "before", max_steps=4)[-1]["peak_memory_mb"]
    held = torch.ones(int(before * 1e6) // 4 + 50_000_000)  # as much again, and 200 MB
    after = rows(tmp_path / "after", max_steps=4)[-1]["peak_memory_mb"]
    assert after >= before + 150
    del held


def test_nothing_timed_or_measured_enters_the_fit(tmp_path):
    fitted = fit_here(LM, training(peak_tflops=1.0, score_every=8), tmp_path, observer=Listener())
    names = {name for row in fitted.curve for name in row}
    assert names == {"step", "lm_loss", "lm_accuracy", "grad_norm", "learning_rate", "loss", "accuracy"}
    text = (tmp_path / "fit.json").read_text()
    assert not [word for word in ("second", "mfu", "memory", "peak", "profile") if word in text]


# -------------------------------------------------------------------------------------------------------- profiler


class Keeper(Listener):
    def __init__(self):
        super().__init__()
        self.files = []

    def log_file(self, path):
        assert path.is_file()
        self.files.append(path.name)


def test_a_trace_of_the_steps_asked_for_is_written_and_handed_to_the_observer(tmp_path):
    keeper = Keeper()
    traced = fit_here(LM, training(profile={"first_step": 3, "steps": 2}), tmp_path / "a", observer=keeper)
    assert keeper.files == ["rank-0-steps-3-4.json.gz"]
    with gzip.open(tmp_path / "a/trace/rank-0-steps-3-4.json.gz") as file:
        events = json.load(file)["traceEvents"]
    assert len([event for event in events if event.get("name") == "aten::embedding"]) == 2  # one a step
    assert outcome(traced) == outcome(fit_here(LM, training(), tmp_path / "b"))


def test_a_trace_ends_with_the_run_and_needs_no_observer_that_keeps_files(tmp_path):
    fit_here(LM, training(max_steps=6, profile={"first_step": 4, "steps": 9}), tmp_path, observer=Listener())
    assert [path.name for path in (tmp_path / "trace").iterdir()] == ["rank-0-steps-4-5.json.gz"]


def test_settings_of_seeing_do_not_forbid_a_resume(tmp_path):
    first = fit_here(LM, training(max_steps=6), tmp_path)
    changed = training(max_steps=6, peak_tflops=1.0, profile={"first_step": 0, "steps": 1})
    assert outcome(finished_fit(tmp_path, changed)) == outcome(first)


def test_two_ranks_count_tell_and_train_as_before(tmp_path):
    settings = training(peak_tflops=1.0, profile={"first_step": 2, "steps": 1}, score_every=8)
    process = start(LM, settings, tmp_path / "two", processes=2, dropout=0.0)
    one = fit_here(LM, training(score_every=8), tmp_path / "one", dropout=0.0)
    finish(process)
    assert_close(finished_fit(tmp_path / "two", settings), one)
    names = sorted(path.name for path in (tmp_path / "two/trace").iterdir())
    assert names == ["rank-0-steps-2-2.json.gz", "rank-1-steps-2-2.json.gz"]


def test_waiting_for_a_slower_rank_is_communication_and_neither_forward_nor_backward(tmp_path):
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", toy_slow_rank.__file__, str(tmp_path)]
    finish(subprocess.Popen([sys.executable, *run], stderr=subprocess.PIPE, text=True))
    heard = json.loads((tmp_path / "heard.json").read_text())
    assert heard["seconds_communication"] >= 0.5 * toy_slow_rank.PAUSE
    assert heard["seconds_communication"] > heard["seconds_forward"] + heard["seconds_backward"]


def test_a_trace_ends_when_no_message_is_under_way(tmp_path):
    """One that ends later writes into the freed memory of the trace, and the process dies of it, or hangs."""
    finish(subprocess.Popen(torchrun(2, toy_late_message.__file__, str(tmp_path)), stderr=subprocess.PIPE, text=True))
    with gzip.open(tmp_path / "trace/rank-0-steps-1-2.json.gz") as file:
        events = json.load(file)["traceEvents"]
    sent = [event["dur"] for event in events if event.get("name") == "gloo:all_reduce"]
    late = [duration for duration in sent if duration > 0.75e6 * toy_late_message.PAUSE]
    assert len(late) == 4  # in each step the first that waits for the second rank, and what is said after it
