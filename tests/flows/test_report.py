"""The report shows what is there, on one page that needs nothing else."""

import json

import pytest

from components.engines.base.errors import StageError, UsageError
from flows.report import build_report
from tests.flows.browser import laid_out, needs_browser

METRICS = {"bleu": 97.25, "bleu_copy_source": 0.1, "slices": {"length": {"1-5": {"count": 3, "bleu": 90.0}}}}
VERDICT = {
    "system": "toy",
    "gate": "enforce",
    "decision": "refused",
    "candidate": {"version": 2, "digest": "ab"},
    "champion": {"version": 1, "digest": "cd"},
    "reasons": ["bleu is worse: [-3.1, -1.2]"],
    "checks": {"comparison": {"bleu": {"low": -3.1, "high": -1.2}}},
    "ledger_line": 2,
}


@pytest.fixture
def root(tmp_path):
    """A project whose stages have all written what stages write."""
    reports, data = tmp_path / "reports/toy", tmp_path / "data/toy/cleaned"
    reports.mkdir(parents=True)
    data.mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {toy-clean: {cmd: x, outs: [data/toy/cleaned]}}")
    (tmp_path / "params.yaml").write_text("{}")
    (tmp_path / "dvc.lock").write_text(
        "stages: {toy-clean: {cmd: x, outs: [{path: data/toy/cleaned, md5: 0123456789abcdef}],"
        " params: {params.yaml: {toy.clean: {max_words: 77}}}}}"
    )
    (reports / "metrics.json").write_text(json.dumps(METRICS))
    (reports / "verdict.json").write_text(json.dumps(VERDICT))
    (reports / "finetune_curve.csv").write_text("step,model_loss,valid_loss\n1,2.0,\n2,1.0,1.5\n")
    sample = {"id": "1", "kind": "bad", "fields": {"source": "<script>alert(1)</script>", "output": "x"}, "score": 1.5}
    (reports / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    funnel = {"seen": 9, "kept": 7, "rejected": {"duplicate": 2}, "quarantined": {}}
    (data / "manifest.json").write_text(json.dumps({"funnel": funnel, "splits": {"train": 7}}))
    return tmp_path


def test_everything_a_system_wrote_is_on_the_page(root):
    page = build_report("toy", root).read_text()
    for shown in (
        "97.2",
        "refused",
        "-3.1",
        "rejected: duplicate",
        "0123456789ab",
        "max_words: 77",
        "finetune",
        "1-5 (3)",
    ):
        assert shown in page
    assert page.count("<svg") == 3


def test_data_cannot_smuggle_markup_and_the_page_loads_nothing(root):
    page = build_report("toy", root).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "src=" not in page


def test_equal_files_give_equal_bytes(root):
    assert build_report("toy", root).read_bytes() == build_report("toy", root).read_bytes()


def test_what_is_missing_is_said(root):
    (root / "reports/toy/verdict.json").unlink()
    (root / "reports/toy/samples.jsonl").unlink()
    page = build_report("toy", root).read_text()
    assert "not judged yet" in page
    assert "no stage wrote them: samples." in page
    (root / "reports/toy/metrics.json").unlink()
    with pytest.raises(UsageError, match="nothing to report"):
        build_report("toy", root)


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


def test_pictures_and_charts_that_stages_left_are_part_of_the_page(root):
    reports = root / "reports/toy"
    (reports / "gallery").mkdir()
    (reports / "gallery/a.png").write_bytes(PIXEL)
    picture = {"title": "Samples at guidance 3", "note": "prompt below", "file": "gallery/a.png"}
    (reports / "pictures.json").write_text(json.dumps([picture]))
    roc = {"title": "Filter ROC", "kind": "lines", "xlabel": "false positives", "series": {"clip": [[0, 0], [1, 1]]}}
    yields = {"title": "Yield", "kind": "bars", "xlabel": "images", "values": {"kept": 7}}
    (reports / "charts.json").write_text(json.dumps([roc, yields]))
    row = {"id": "7", "kind": "random", "fields": {"before": "x"}, "pictures": {"image": "gallery/a.png"}, "score": 1.0}
    (reports / "recaption_samples.jsonl").write_text(json.dumps(row) + "\n")
    page = build_report("toy", root).read_text()
    assert page.count("data:image/png;base64,") == 2
    for shown in ("Samples at guidance 3", "Filter ROC", "Yield", "recaption: arbitrary", "<th>image</th>"):
        assert shown in page
    assert page.count("<svg") == 5


def test_a_picture_outside_of_the_report_is_refused(root):
    (root / "secret.png").write_bytes(PIXEL)
    picture = {"title": "x", "note": "", "file": "../../secret.png"}
    (root / "reports/toy/pictures.json").write_text(json.dumps([picture]))
    with pytest.raises(StageError, match=r"not there: \.\./\.\./secret\.png"):
        build_report("toy", root)


@needs_browser
@pytest.mark.parametrize("width", [1200, 400])
def test_in_a_browser_samples_stand_before_tables_nothing_overflows_and_no_planted_script_runs(root, tmp_path, width):
    planted = "<script>document.title = 'run'</script>" + "x" * 300
    row = {"id": "1", "kind": "bad", "fields": {"source": planted, "output": "é" * 200}, "score": 1.5}
    (root / "reports/toy/samples.jsonl").write_text(json.dumps(row) + "\n")
    found = laid_out(build_report("toy", root), width, tmp_path)
    assert found["title"] == "toy — genworks report"
    assert found["headings"] == [
        "What it makes",
        "Training",
        "Results by slice and setting",
        "All figures",
        "Data",
        "Promotion gate",
        "Lineage",
    ]
    assert found["wide"] == []
    assert found["empty"] == []
